"""Reader of LVQuan19: one 2D+t short-axis cine of 20 frames per patient, in MAT files."""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foanet_jax.data.nifti.header import SPACING_RANGE_MM
from foanet_jax.data.readers.matfile import read_mat
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, visible
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.system.errors import InputError

# Known or likely names of the arrays, in lower case; the first one is that of the data set.
_ALIASES = {
    "image": ("image", "images", "img"),
    "endo": ("endo", "endo_mask", "endomask"),
    "epi": ("epi", "epi_mask", "epimask"),
    "pix_spacing": ("pix_spacing", "pixspacing", "pixel_spacing", "pix"),
    "areas": ("areas", "area"),
    "dims": ("dims", "dim"),
    "rwt": ("rwt",),
    "lv_phase": ("lv_phase", "lvphase", "phase"),
}
_INDEX_ROWS = {"areas": 2, "dims": 3, "rwt": 6}


def list_lvquan19(root: str | os.PathLike[str], *, problems: list[str] | None = None) -> list[StudyRef]:
    """Lists one labelled study for each patientN.mat in a folder, in order of N.

    Args:
        root: the folder.
        problems: if given, problems of single files are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no such file; or "incomplete", which lists all patients with two files.
            Loading a study raises the errors of `read_lvquan19`.
    """
    root = require_root(Path(root))
    paths = [path for path in visible(root.glob("*.mat")) if re.fullmatch(r"patient\d+\.mat", path.name)]
    if not paths:
        raise empty_root(root, "patientN.mat")
    collected: list[str] = [] if problems is None else problems
    first: dict[int, Path] = {}
    for path in paths:
        same = first.setdefault(int(path.stem.removeprefix("patient")), path)
        if same != path:
            collected.append(f"{path}: the same patient as {same}; remove one of them")
    if problems is None:
        raise_problems(root, collected)
    return [
        StudyRef(
            path.stem,
            path.stem,
            None,
            functools.partial(read_lvquan19, path, case=path.stem),
            functools.partial(_load_voxels, path),
        )
        for path in first.values()
    ]


def _load_voxels(path: Path) -> np.ndarray:
    return read_lvquan19(path, case=path.stem, require_labels=False).voxels


def read_lvquan19(path: str | os.PathLike[str], *, case: str, require_labels: bool = True) -> Study:
    """Reads the cine of one file.

    The cavity is the endocardial mask, and the myocardium is the rest of the epicardial mask. Masks can have the values
    0 and 1 or 0 and 255. The files have no slice thickness; the slice distance is set to 1 mm.

    Args:
        path: the file.
        case: id of patient and study.
        require_labels: whether missing masks are an error.

    Returns:
        Voxels (T, 1, H, W), labels of LV_CLASSES.

    Raises:
        InputError: an array is missing, has a wrong shape, has values that are not finite, or a mask has negative ones.
    """
    path = Path(path)
    arrays = _by_own_name(read_mat(path), path)
    missing = [name for name in ("image", "pix_spacing") if name not in arrays]
    masks = [name for name in ("endo", "epi") if name in arrays]
    if require_labels or masks:
        missing += [name for name in ("endo", "epi") if name not in arrays]
    if missing:
        raise InputError(
            "missing-array",
            f"{path}: no {', '.join(missing)} among its arrays; pass a file with the layout of LVQuan19",
        )
    image = _as_frames(arrays["image"], "image", path)
    labels = None
    if masks:
        endo, epi = (_as_mask(arrays[name], name, image.shape, path) for name in ("endo", "epi"))
        labels = np.where(endo, LV_CLASSES.index("cavity"), np.where(epi, LV_CLASSES.index("myocardium"), 0))
        labels = labels.astype(np.uint8)
    row_mm, column_mm = _spacing(arrays["pix_spacing"], path)
    # Values outside the range of float32 become infinite; validate_study refuses them.
    with np.errstate(over="ignore"):
        voxels = np.ascontiguousarray(image, np.float32)
    return validate_study(
        Study(
            patient=case,
            case=case,
            voxels=voxels,
            spacing_mm=(1.0, row_mm, column_mm),
            classes=LV_CLASSES,
            labels=labels,
            affine=np.diag([column_mm, row_mm, 1.0, 1.0]),
            source=path,
        )
    )


def read_indices(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the LV indices of a file, in their own unit, which is not documented (see `index_units`).

    Returns:
        The indices that the file has, float64: areas (2, T) of cavity and myocardium; dims (3, T) of IS-AL, I-A and
        IL-AS; rwt (6, T) of IS, I, IL, AL, A and AS; lv_phase (T,), 1 in systole and 0 in diastole.

    Raises:
        InputError: an index has a wrong shape or values that are not finite.
    """
    path = Path(path)
    arrays = _by_own_name(read_mat(path), path)
    indices: dict[str, np.ndarray] = {}
    for name, rows in _INDEX_ROWS.items():
        if name in arrays:
            values = arrays[name].astype(np.float64)
            if values.ndim == 2 and values.shape[0] != rows and values.shape[1] == rows:
                values = values.T
            if values.ndim != 2 or values.shape[0] != rows:
                raise InputError(
                    "shape",
                    f"{path}: {name} has the shape {values.shape}; expected ({rows}, frames): correct the file",
                )
            indices[name] = values
    if "lv_phase" in arrays:
        phase = arrays["lv_phase"].astype(np.float64)
        if phase.size != max(phase.shape):
            raise InputError(
                "shape", f"{path}: lv_phase has the shape {phase.shape}; expected one value per frame: correct the file"
            )
        indices["lv_phase"] = phase.ravel()
    for name, values in indices.items():
        if not np.isfinite(values).all():
            raise InputError("non-finite", f"{path}: {name} has values that are NaN or infinite; correct the file")
    return indices


def index_units(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, str]:
    """Finds the units of areas, dims and rwt by comparing them with the study's masks.

    Areas are compared with the areas of the masks; diameters and wall thicknesses with those of circles of the same
    area. The median over all frames with non-empty masks is used. If there are areas, their unit is used for all three,
    because a diameter in mm is too similar to one in pixels of about 1 mm.

    Args:
        indices: from `read_indices`.
        study: the labelled study of the same file.

    Returns:
        The unit of each of these indices in the file: "mm", "cm", "px" or "image", a fraction of the mean side of the
        image; for areas the squares of these units, where "image" is a fraction of the image's area.

    Raises:
        InputError: the study has no labels or another number of frames; or there is not exactly one unit with which an
            index agrees with the masks (areas to 10 %, the others to 30 %).
    """
    return {name: unit for name, (unit, _) in _units(indices, study).items()}


def indices_in_mm(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, np.ndarray]:
    """Converts areas to mm², and dims and rwt to mm; arguments and errors as for `index_units`."""
    units = _units(indices, study)
    return {name: values * units[name][1] if name in units else values for name, values in indices.items()}


def _units(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, tuple[str, float]]:
    """Returns the unit of each index and its size in mm or mm²."""
    if study.labels is None:
        raise InputError(
            "no-labels", f"{study.name}: has no masks to compare the indices with; pass a study with labels"
        )
    _, row_mm, column_mm = study.spacing_mm
    height, width = study.voxels.shape[-2:]
    cavity, myocardium = (
        (study.labels == LV_CLASSES.index(name)).sum(axis=(1, 2, 3)) * row_mm * column_mm
        for name in ("cavity", "myocardium")
    )
    inner, outer = np.sqrt(cavity / np.pi), np.sqrt((cavity + myocardium) / np.pi)
    of_masks = {"areas": np.stack([cavity, myocardium]), "dims": 2 * inner[None], "rwt": (outer - inner)[None]}
    side_mm = np.sqrt(row_mm * column_mm)
    sides = {"mm": 1.0, "cm": 10.0, "px": side_mm, "image": side_mm * np.sqrt(height * width)}
    found: dict[str, tuple[str, float]] = {}
    for name in (name for name in of_masks if name in indices):
        values, expected = indices[name], of_masks[name]
        if values.shape[1] != expected.shape[1]:
            raise InputError(
                "shape",
                f"{study.name}: {name} has {values.shape[1]} frames, but the image has {expected.shape[1]}; correct "
                "the file",
            )
        if name != "areas":
            values = values.mean(axis=0, keepdims=True)
        shown = (expected > 0) & (values > 0)
        if not shown.any():
            raise InputError(
                "index-unit", f"{study.name}: the masks are empty, so that the unit of {name} cannot be found"
            )
        power, tolerance = (2, 0.1) if name == "areas" else (1, 0.3)
        candidates = [found["areas"][0]] if "areas" in found else list(sides)
        ratios = {u: np.median(values[shown] * sides[u] ** power / expected[shown]) for u in candidates}
        fitting = [unit for unit, ratio in ratios.items() if abs(ratio - 1) <= tolerance]
        # Units of the same size are equivalent, such as mm and px for pixels of 1 mm.
        if len({round(sides[unit], 6) for unit in fitting}) != 1:
            listed = ", ".join(f"{ratio:.3g} in {unit}" for unit, ratio in ratios.items())
            raise InputError(
                "index-unit",
                f"{study.name}: {name} fits {' or '.join(fitting) or 'no known unit'}; ratios to the masks: {listed}; "
                "correct the file",
            )
        found[name] = (fitting[0], sides[fitting[0]] ** power)
    return found


def _by_own_name(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    named: dict[str, np.ndarray] = {}
    for own, aliases in _ALIASES.items():
        found = [name for name in arrays if name.lower() in aliases]
        if len(found) > 1:
            raise InputError("ambiguous", f"{path}: {', '.join(sorted(found))} could all be {own}; keep one of them")
        if found:
            named[own] = arrays[found[0]]
    return named


def _as_frames(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Moves the axes from (H, W[, T]) to (T, 1, H, W); MATLAB drops a last axis of length 1."""
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(
            "shape", f"{path}: {name} has the shape {array.shape}; expected (rows, columns, frames): correct the file"
        )
    frames = array if array.ndim == 3 else array[..., None]
    return np.moveaxis(frames, 2, 0)[:, None]


def _as_mask(array: np.ndarray, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    mask = _as_frames(array, name, path)
    if mask.shape != shape:
        raise InputError(
            "shape-mismatch",
            f"{path}: the shapes (T, Z, H, W) of image {shape} and {name} {mask.shape} differ; correct the file",
        )
    if not np.isfinite(mask).all() or (mask < 0).any():
        raise InputError(
            "unknown-label",
            f"{path}: {name} has values that are negative or not finite; expected 0 and 1: correct the file",
        )
    return mask > 0


def _spacing(array: np.ndarray, path: Path) -> tuple[float, float]:
    """Returns the (row, column) spacing in mm, from one value for both axes or one for each."""
    values = [float(value) for value in array.ravel()]
    low, high = SPACING_RANGE_MM
    if len(values) not in (1, 2) or not all(low <= value <= high for value in values):
        raise InputError(
            "spacing",
            f"{path}: pix_spacing is {values[:8]}; expected one or two values from {low:g} to {high:g} mm per pixel",
        )
    return values[0], values[-1]
