"""NRRD, MetaImage, and pairs of .hdr and .img."""

import gzip
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.study import Study
from tests.fuzz.formats.nifti import nifti_fields
from tests.fuzz.readings import check_written_back
from tests.fuzz.seeds import Seed, Target, some

_TILTED = np.array([[-1.44, 0.35, 0, 10], [-0.42, -1.2, 0, 20], [0, 0, 8, -30], [0, 0, 0, 1]])
_NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "5 4 3",
    "space directions": "(1.44,0.42,0) (-0.35,1.2,0) (0,0,8)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10.5,-20,30)",
}
_META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "0.96 0.28 0 -0.28 0.96 0 0 0 1",
    "Offset": "10.5 -20 30",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "1.5 1.25 8",
    "DimSize": "5 4 3",
    "ElementType": "MET_SHORT",
}
_VOXELS = some(5, 4, 3).astype("<i2").tobytes()


def nrrd_seeds() -> list[Seed]:
    """In one piece and with its voxels beside it, raw and compressed, planes, cines and spacings alone."""
    name = "images/image.nrrd"
    planes = {"dimension": "2", "sizes": "5 12", "space directions": "(1.44,0) (0,1.2)", "kinds": "domain domain"}
    planes |= {"space": None, "space dimension": "2", "space origin": "(1,2)"}
    cine = {"dimension": "4", "sizes": "5 4 1 3", "space directions": "(1.44,0,0) (0,1.2,0) (0,0,8) none"}
    alone = {"space": None, "space directions": None, "space origin": None, "spacings": "1.44 1.2 8"}
    made = [
        {name: _nrrd() + _VOXELS},
        {name: _nrrd(encoding="gzip") + gzip.compress(_VOXELS, mtime=0)},
        {name: _nrrd(**planes) + _VOXELS},
        {name: _nrrd(**cine, kinds="domain domain domain list") + _VOXELS},
        {name: _nrrd(**alone) + _VOXELS},
        {"images/image.nhdr": _nrrd(**{"data file": "voxels.raw"}), "images/voxels.raw": _VOXELS},
        {
            "images/image.nhdr": _nrrd(**{"data file": "voxels.raw.gz", "encoding": "gz"}),
            "images/voxels.raw.gz": gzip.compress(_VOXELS, mtime=0),
        },
    ]
    return [_seed(files) for files in made]


def _nrrd(**fields: str | None) -> bytes:
    every = {**_NRRD, **fields}
    lines = [f"{name}: {value}" for name, value in every.items() if value is not None]
    return "\n".join(["NRRD0005", "# a comment", "user:=value", *lines, "", ""]).encode()


def metaimage_seeds() -> list[Seed]:
    """In one piece and with its voxels beside it, raw and compressed, planes and cines."""
    name = "images/image.mha"
    plane = {
        "NDims": "2",
        "DimSize": "5 12",
        "TransformMatrix": "1 0 0 1",
        "Offset": "1 2",
        "ElementSpacing": "1.5 1.25",
    }
    cine = {"NDims": "4", "DimSize": "5 4 1 3", "Offset": "1 2 3 0", "ElementSpacing": "1.5 1.25 8 0.03"}
    cine |= {"TransformMatrix": "0.96 0.28 0 0 -0.28 0.96 0 0 0 0 1 0 0 0 0 1"}
    made = [
        {name: _meta() + _VOXELS},
        {name: _meta(CompressedData="True") + zlib.compress(_VOXELS)},
        {name: _meta(**plane) + _VOXELS},
        {name: _meta(**cine) + _VOXELS},
        {"images/image.mhd": _meta(data="voxels.raw"), "images/voxels.raw": _VOXELS},
        {
            "images/image.mhd": _meta(data="voxels.zraw", CompressedData="True"),
            "images/voxels.zraw": zlib.compress(_VOXELS),
        },
    ]
    return [_seed(files) for files in made]


def _meta(data: str = "LOCAL", **fields: str) -> bytes:
    lines = [f"{name} = {value}" for name, value in {**_META, **fields}.items() if name != "CenterOfRotation"]
    return "\n".join([*lines, f"ElementDataFile = {data}", ""]).encode()


def pair_seeds() -> list[Seed]:
    """Pairs of NIfTI-1 and NIfTI-2 and Analyze, both byte orders."""
    seeds = []
    for kind, order, dtype in (
        (nib.Nifti1Pair, "<", np.int16),
        (nib.Nifti1Pair, ">", np.float32),
        (nib.Nifti2Pair, "<", np.uint8),
        (nib.Spm99AnalyzeImage, "<", np.int16),
        (nib.AnalyzeImage, ">", np.float32),
    ):
        header = kind.header_class(endianness=order)
        header.set_data_dtype(dtype)
        affine = _TILTED if "Nifti" in kind.__name__ else np.diag([-1.5, 1.2, 8, 1])
        image = kind(some(5, 4, 3).astype(dtype), affine, header)
        files: dict[str, Any] = kind.make_file_map()
        for place in files.values():
            place.fileobj = io.BytesIO()
        image.to_file_map(files)
        header_bytes, body = (files[part].fileobj.getvalue() for part in ("header", "image"))
        seeds.append(
            _seed(
                {"images/image.hdr": header_bytes, "images/image.img": body},
                {"images/image.hdr": nifti_fields(header_bytes)},
            )
        )
    return seeds


def _seed(files: Mapping[str, bytes], fields: Mapping[str, Any] | None = None) -> Seed:
    """Headers of text are damaged as texts, more often than the voxels."""
    targets = []
    for name in files:
        is_text = fields is None and name.endswith((".nrrd", ".nhdr", ".mha", ".mhd"))
        target = Target(name, (fields or {}).get(name, ()), text=is_text)
        targets += [target] * (3 if name.endswith((".hdr", ".nhdr", ".mhd")) else 1)
    return Seed(files, targets, _read, check_written_back)


def _read(folder: Path) -> list[Study]:
    return [ref.load() for ref in read_input(folder / "images")]
