"""What was read: whether it is the same as before, and whether it holds together."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.study import Study, validate_study

_STUDY_FIELDS = ("patient", "case", "voxels", "spacing_mm", "classes", "labels", "affine", "group")


def fingerprint(reading: Any) -> bytes:
    """A digest of everything that a reader gave: equal readings have equal ones."""
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, reading)
    return digest.digest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Study):
        for field in _STUDY_FIELDS:
            _add(digest, getattr(value, field))
    elif isinstance(value, dict):
        for key in sorted(value):
            _add(digest, key)
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _add(digest, item)
    elif dataclasses.is_dataclass(value):
        _add(digest, dataclasses.astuple(value))
    else:
        digest.update(repr(value).encode("utf-8", errors="surrogatepass"))


def check_study(study: Study) -> None:
    """Raises where a study is not what its docstring promises."""
    validate_study(study)
    assert study.voxels.dtype == np.float32
    assert study.voxels.nbytes <= 2**31
    assert study.labels is None or study.labels.dtype == np.uint8
    assert all(isinstance(side, float) for side in study.spacing_mm)
    assert study.affine.shape == (4, 4)
    assert study.affine.dtype == np.float64
    assert np.isfinite(study.affine).all()
    assert np.linalg.matrix_rank(study.affine[:3, :3] / np.linalg.norm(study.affine[:3, :3], axis=0)) == 3


def check_studies(studies: list[Study], folder: Path) -> None:
    """As check_study, for each of them."""
    for study in studies:
        check_study(study)


def check_written_back(studies: list[Study], folder: Path, *, third_axis: ThirdAxis = "slice") -> None:
    """Raises where a mask of a study does not land on the grid that the study was read from."""
    check_studies(studies, folder)
    for study in studies:
        assert study.source is not None
        before = read_nifti(study.source, third_axis=third_axis)
        mask = np.zeros(study.voxels.shape, np.uint8)
        mask[(-1, *(0,) * 3)] = mask[(0, -1, 0, 0)] = 1
        path = folder / "written" / "mask.nii"
        write_mask(mask, study, path)
        after = read_nifti(path, third_axis=third_axis)
        path.unlink()
        assert after.data.shape == before.data.shape
        assert after.data.sum() == mask.sum()
        assert after.spacing_mm == before.spacing_mm
        np.testing.assert_array_equal(after.affine, before.affine)


def check_arrays(arrays: dict[str, np.ndarray], folder: Path) -> None:
    """Raises where read_mat gives anything but named arrays of numbers."""
    for name, array in arrays.items():
        assert isinstance(name, str)
        assert name
        assert array.ndim >= 2
        assert array.dtype.kind in "iufb"
        assert array.dtype.isnative
