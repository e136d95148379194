"""MAT files of version 5 and 7.3, as arrays and as LVQuan19's cines."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from foanet_jax.data.readers.lvquan19 import read_indices, read_lvquan19
from foanet_jax.data.readers.matfile import read_mat
from foanet_jax.data.study import Study
from tests.fuzz.readings import check_arrays, check_study
from tests.fuzz.seeds import MAT, Seed, Target, some, words

_NAME = "file.mat"


def mat_seeds(kinds: str) -> list[Seed]:
    """Arrays of every kind in version 5 (5), 7, which is compressed (7), 7.3 in one piece (h) and in chunks (H)."""
    return _seeds(_various(), _read_mat, check_arrays, kinds)


def lvquan19_seeds() -> list[Seed]:
    """A cine of three frames with masks and indices."""
    return _seeds(_cine(), _read_cine, _check_cine, "57H")


def _seeds(
    content: dict[str, Any], read: Callable[[Path], Any], check: Callable[[Any, Path], None], kinds: str
) -> list[Seed]:
    numbers = {name: value for name, value in content.items() if np.asarray(value).dtype.kind in "iufb"}
    seeds = []
    for kind in kinds:
        if kind in "57":
            made = _version5(content, compressed=kind == "7")
            part = MAT.unpack(made)[0] if kind == "7" else made
            target = Target(_NAME, words(part, step=4, letters="HIb"), MAT if kind == "7" else None)
        else:
            made = _version7_3(numbers, chunked=kind == "H")
            target = Target(_NAME, words(made, step=4, letters="BHIQ"))
        seeds.append(Seed({_NAME: made}, [target], read, check))
    return seeds


def _version5(content: dict[str, Any], *, compressed: bool) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, do_compression=compressed)
    # The header's text holds the time of writing, and seeds are to be the same in every run.
    return b"MATLAB 5.0 MAT-file".ljust(116) + stream.getvalue()[116:]


def _version7_3(content: dict[str, Any], *, chunked: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _NAME
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in content.items():
                array = np.asarray(value)
                array = array.reshape(1, -1) if array.ndim < 2 else array.T
                stored = array.astype(np.uint8) if array.dtype == bool else array
                options = {"chunks": True, "compression": "gzip", "shuffle": True} if chunked else {}
                made = file.create_dataset(name, data=stored, track_times=False, **options)
                matlab_class = {"b": "logical", "f": "double"}.get(array.dtype.kind, array.dtype.name)
                made.attrs["MATLAB_class"] = np.bytes_(matlab_class)
        return b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM" + path.read_bytes()[128:]


def _various() -> dict[str, Any]:
    return {
        "image": some(4, 3, 2).astype(np.uint16),
        "flag": np.array([[True, False]]),
        "spacing": 1.25,
        "whole": np.arange(4.0).reshape(2, 2),
        "text": "abc",
        "complex": np.array([[1 + 2j]]),
        "struct": {"a": 1},
    }


def _cine() -> dict[str, Any]:
    epi = np.zeros((4, 5, 3), np.uint8)
    epi[1:4, 1:4] = 1
    endo = np.zeros_like(epi)
    endo[2, 2] = 255
    return {
        "image": some(4, 5, 3).astype(np.uint16),
        "epi": epi,
        "endo": endo,
        "pix_spacing": 1.25,
        "areas": np.ones((2, 3)),
        "lv_phase": np.array([[0, 1, 0]]),
    }


def _read_mat(folder: Path) -> dict[str, np.ndarray]:
    return read_mat(folder / _NAME)


def _read_cine(folder: Path) -> tuple[Study, dict[str, np.ndarray]]:
    return read_lvquan19(folder / _NAME, case="c"), read_indices(folder / _NAME)


def _check_cine(reading: tuple[Study, dict[str, np.ndarray]], folder: Path) -> None:
    check_study(reading[0])
    assert all(np.isfinite(values).all() for values in reading[1].values())
