"""The gallery: image planes that an evaluation stores, to draw its pictures later without data set and networks."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.image.boxes import Box
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError

NAME = "gallery.npz"
MOST_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Plane:
    """One slice of one frame of a study, with its segmentation.

    Attributes:
        patient, case: the ids of patient and study.
        frame, slice_: frame and slice, counted from 0.
        classes: names by index, background first.
        spacing_mm: spacing of rows and columns.
        image: (H, W) uint8 grey levels.
        truth, prediction: (H, W) uint8 class indices.
        object_box: the box of the heart in the whole study; None if nothing was found.
        box: the box with its margin, in which the study was segmented.
        before, after: (H, W) uint8, the neighbours in the temporal-like image; None if they were not stored.
        delta: δ of the focus of attention, in px; None if there is no focus.
    """

    patient: str
    case: str
    frame: int
    slice_: int
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float]
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    object_box: Box | None
    box: Box
    before: np.ndarray | None = None
    after: np.ndarray | None = None
    delta: float | None = None


_ARRAYS = ("image", "truth", "prediction", "before", "after")


def save_gallery(planes: Sequence[Plane], folder: Path) -> None:
    """Writes `folder/gallery.npz`: arrays, and the rest as JSON. It has no objects, so that reading it runs no code."""
    arrays, entries = {}, []
    for number, plane in enumerate(planes):
        entry = {field.name: getattr(plane, field.name) for field in dataclasses.fields(plane)}
        for name in _ARRAYS:
            array = entry.pop(name)
            if array is not None:
                arrays[f"{number}/{name}"] = array
        for name in ("object_box", "box"):
            entry[name] = None if entry[name] is None else dataclasses.astuple(entry[name])
        entries.append(entry)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / NAME) as temporary, Path(temporary).open("wb") as file:
        np.savez_compressed(file, entries=np.frombuffer(json.dumps(entries).encode(), np.uint8), **arrays)


def load_gallery(folder: Path) -> list[Plane]:
    """Reads the planes that `save_gallery` wrote; an empty list if there is no such file.

    Raises:
        InputError: "damaged-file" if the file is damaged or contains objects; "too-large" if it unpacks to more than
            MOST_BYTES.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        return _read(path)
    except InputError:
        raise
    # NumPy, zipfile and zlib raise many kinds of exceptions for damaged archives.
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError("damaged-file", f"{path}: cannot be read ({what}); evaluate the run again") from error


def _read(path: Path) -> list[Plane]:
    planes = []
    # The file is opened here, so that it is also closed if NumPy finds it damaged.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        # No member is unpacked beyond the size that it declares.
        unpacked = sum(member.file_size for member in file.zip.infolist())
        if unpacked > MOST_BYTES:
            raise InputError("too-large", f"{path}: unpacks to {unpacked} bytes; evaluate the run again")
        for number, entry in enumerate(json.loads(file["entries"].tobytes())):
            arrays = {name: file[f"{number}/{name}"] for name in _ARRAYS if f"{number}/{name}" in file}
            for name in ("object_box", "box"):
                entry[name] = None if entry[name] is None else Box(*entry[name])
            for name in ("classes", "spacing_mm"):
                entry[name] = tuple(entry[name])
            if any(array.dtype != np.uint8 or array.ndim != 2 for array in arrays.values()):
                raise TypeError(f"plane {number} has arrays that are not (H, W) uint8")
            planes.append(Plane(**entry, **arrays))
    return planes
