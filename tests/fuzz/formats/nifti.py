"""NIfTI files alone, and in the layouts of data sets that are made of them."""

import functools
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from foanet_jax.data.catalogue import read_input
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.readers.folder import list_folder
from foanet_jax.data.readers.mmwhs2017 import LABEL_VALUES, list_mmwhs2017
from foanet_jax.data.readers.nnunet import list_nnunet
from foanet_jax.data.study import Study
from tests.fuzz.mutations import Field
from tests.fuzz.readings import check_studies, check_written_back
from tests.fuzz.seeds import GZIP, Seed, Target, some

_TILTED = np.array([[-1.44, 0.35, 0, 10], [-0.42, -1.2, 0, 20], [0, 0, 8, -30], [0, 0, 0, 1]])
_LETTERS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d", "i8": "q"}


def nifti_bytes(array: np.ndarray, kind: Any = nib.Nifti1Image, order: str = "<", extension: bytes = b"") -> bytes:
    """A file by nibabel, tilted, with both of NIfTI's affines unless it has frames."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = kind(array, None, header)
    image.set_qform(_TILTED, 1)
    if array.ndim != 4:
        image.set_sform(_TILTED, 2)
    image.header.set_xyzt_units("mm", "msec")
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    return image.to_bytes()


def nifti_fields(content: bytes) -> list[Field]:
    """Every number of the header, at its place."""
    order = "<" if int.from_bytes(content[:4], "little") in (348, 540) else ">"
    kind = nib.Nifti1Header if 92 in content[:4] else nib.Nifti2Header  # 348 = 256 + 92
    fields = []
    for dtype, offset in kind.template_dtype.fields.values():
        letter = _LETTERS.get(dtype.base.str[1:])
        if letter is not None:
            count = int(np.prod(dtype.shape, dtype=int))
            fields += [Field(offset + dtype.base.itemsize * i, letter, order) for i in range(count)]
    return fields


def nifti_seeds(compressed: bool) -> list[Seed]:
    """Two, three and four dimensions, both versions and byte orders, read as they are and reoriented."""
    made: list[tuple[bytes, dict[str, Any]]] = [
        (nifti_bytes(some(5, 4, 3).astype(np.int16), extension=b"a comment"), {"slice_axis": "sagittal"}),
        (nifti_bytes(some(4, 3, 2, 2).astype(np.float32)), {}),
        (nifti_bytes(some(5, 4).astype(np.uint8)), {"slice_axis": "axial"}),
        (nifti_bytes(some(4, 3, 5).astype(np.int32)), {"third_axis": "time"}),
        (nifti_bytes(some(3, 4, 2).astype(np.float64), nib.Nifti2Image, ">"), {"slice_axis": "coronal"}),
    ]
    name = "images/image.nii.gz" if compressed else "images/image.nii"
    seeds = []
    for content, options in made:
        target = Target(name, nifti_fields(content), GZIP if compressed else None, checksummed=compressed)
        packed = GZIP.pack([content]) if compressed else content
        read = functools.partial(_read_images, **options)
        check = functools.partial(check_written_back, third_axis=options.get("third_axis", "slice"))
        seeds.append(Seed({name: packed}, [target], read, check))
    return seeds


def _read_images(folder: Path, **options: Any) -> list[Study]:
    return [ref.load() for ref in read_input(folder / "images", **options)]


def acdc_seeds() -> list[Seed]:
    """A patient with one frame: image, labels and Info.cfg."""
    stem = "patient001/patient001_frame01"
    image = nifti_bytes(some(5, 4, 3).astype(np.int16))
    labels = nifti_bytes(some(5, 4, 3, high=4).astype(np.uint8))
    info = b"ED: 1\nES: 1\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
    seeds = []
    for suffix in (".nii.gz", ".nii"):
        files, targets = _packed({f"{stem}{suffix}": image, f"{stem}_gt{suffix}": labels})
        targets.append(Target("patient001/Info.cfg", text=True))
        seeds.append(Seed({**files, "patient001/Info.cfg": info}, targets, _read_acdc, check_studies))
    return seeds


def _read_acdc(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_acdc(folder)]


def mmwhs_seeds() -> list[Seed]:
    """An image and its labels, read along coronal slices."""
    values = np.array(LABEL_VALUES)[some(5, 4, 3, high=8)]
    files, targets = _packed(
        {
            "mr_train_1001_image.nii.gz": nifti_bytes(some(5, 4, 3).astype(np.int16)),
            "mr_train_1001_label.nii.gz": nifti_bytes(values.astype(np.int16)),
        }
    )
    return [Seed(files, targets, _read_mmwhs, check_studies)]


def _read_mmwhs(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_mmwhs2017(folder, slice_axis="coronal")]


def folder_seeds() -> list[Seed]:
    """A folder of its own with every key that its dataset.json can have."""
    description = {
        "format": "foanet",
        "classes": {"background": 0, "myocardium": 1, "cavity": [2, 3]},
        "images": "images/{case}.nii.gz",
        "labels": "labels/{case}.nii.gz",
        "third_axis": "slice",
        "slice_axis": "axial",
        "patient": "([a-z]\\d+)_E[DS]",
        "groups": {"p1": "HCM"},
        "note": "none",
    }
    return [_described_seed(description, "images/p1_ED.nii.gz", "labels/p1_ED.nii.gz", _read_folder)]


def _read_folder(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_folder(folder)]


def nnunet_seeds() -> list[Seed]:
    """nnU-Net's layout of version 2, and of version 1."""
    second = {
        "channel_names": {"0": "cineMRI"},
        "labels": {"background": 0, "cavity": 2, "myocardium": 1, "scar": 3},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "foanet": {"slice_axis": "axial", "patient": "(p\\d+)_.+"},
    }
    first = {
        "name": "Heart",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "2": "cavity", "1": "myocardium", "3": "scar"},
        "numTraining": 1,
        "training": [{"image": "./imagesTr/p1_ED.nii.gz", "label": "./labelsTr/p1_ED.nii.gz"}],
    }
    names = ("imagesTr/p1_ED_0000.nii.gz", "labelsTr/p1_ED.nii.gz")
    return [_described_seed(description, *names, _read_nnunet) for description in (second, first)]


def _read_nnunet(folder: Path) -> list[Study]:
    return [ref.load() for ref in list_nnunet(folder)]


def _packed(contents: dict[str, bytes]) -> tuple[dict[str, bytes], list[Target]]:
    files, targets = {}, []
    for name, content in contents.items():
        packed = name.endswith(".gz")
        files[name] = GZIP.pack([content]) if packed else content
        targets.append(Target(name, nifti_fields(content), GZIP if packed else None, checksummed=packed))
    return files, targets


def _described_seed(description: dict[str, Any], image: str, labels: str, read: Any) -> Seed:
    """The description alone is damaged: the files are read as those of other layouts."""
    files, _ = _packed(
        {
            image: nifti_bytes(some(5, 4, 3).astype(np.int16)),
            labels: nifti_bytes(some(5, 4, 3, high=4).astype(np.uint8)),
        }
    )
    content = json.dumps(description, indent=1).encode()
    target = Target("dataset.json", text=True)
    return Seed({**files, "dataset.json": content}, [target], read, check_studies)
