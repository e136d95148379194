"""Image planes that an evaluation keeps, so that its pictures can be drawn again without the data or the networks."""

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
    """One slice of one frame of a study, as it was segmented.

    Attributes:
        patient, case: whose.
        frame, slice_: which.
        classes: names by index, background first.
        spacing_mm: of rows and columns.
        image: (H, W) uint8 grey levels.
        truth, prediction: (H, W) uint8 class indices.
        object_box: the object's box over the whole study; None where nothing was found.
        box: that box with its margin, in which the study was segmented.
        before, after: (H, W) uint8, the neighbours in the temporal-like image; None where they were not kept.
        delta: δ of the focus of attention, px; None where there is no focus.
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
    """Writes `folder/gallery.npz`: arrays, and the rest as JSON; no objects, so that reading it runs no code."""
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
    """The planes that `save_gallery` wrote, none where there is no such file.

    Raises:
        InputError: the file is damaged, holds objects instead of numbers, or unpacks to more than a gallery takes.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        return _read(path)
    except InputError:
        raise
    # NumPy, zipfile and zlib raise a dozen kinds for damaged archives.
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError("damaged-file", f"{path}: cannot be read ({what}); evaluate the run again") from error


def _read(path: Path) -> list[Plane]:
    planes = []
    # Opened here, so that it is closed where NumPy finds it damaged.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        # A member is unpacked to the size that it declares and no further.
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
                raise TypeError(f"plane {number} is not of (H, W) uint8 arrays")
            planes.append(Plane(**entry, **arrays))
    return planes
