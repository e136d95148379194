"""LVQuan19: one 2D+t short-axis cine of 20 frames a patient, in MAT files."""

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

# Names that have been seen or are likely, in lower case; the first is the data set's own.
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
    """One labelled study for each patientN.mat in a folder, in order of N.

    Args:
        root: the folder.
        problems: where given, problems of single files are added here instead of raised.

    Raises:
        InputError: the folder is missing or has no such file, or "incomplete" with every patient who has two;
            loading raises what read_lvquan19 does.
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
    """The cine of one file: voxels (T, 1, H, W), classes LV_CLASSES, slice distance 1 for want of a thickness.

    The cavity is the endocardial mask and the myocardium is what the epicardial mask has besides; masks of
    0 and 1 and of 0 and 255 mean the same.

    Raises:
        InputError: an array is missing, of an unusable shape, negative in a mask, or not finite.
    """
    path = Path(path)
    arrays = _by_own_name(read_mat(path), path)
    missing = [name for name in ("image", "pix_spacing") if name not in arrays]
    masks = [name for name in ("endo", "epi") if name in arrays]
    if require_labels or masks:
        missing += [name for name in ("endo", "epi") if name not in arrays]
    if missing:
        raise InputError(
            "missing-array", f"{path}: no {', '.join(missing)} among its arrays; pass a file of LVQuan19's layout"
        )
    image = _as_frames(arrays["image"], "image", path)
    labels = None
    if masks:
        endo, epi = (_as_mask(arrays[name], name, image.shape, path) for name in ("endo", "epi"))
        labels = np.where(endo, LV_CLASSES.index("cavity"), np.where(epi, LV_CLASSES.index("myocardium"), 0))
        labels = labels.astype(np.uint8)
    row_mm, column_mm = _spacing(arrays["pix_spacing"], path)
    # Values beyond float32 become infinite, and validate_study refuses those.
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
    """The LV indices that a file has, as it has them: their unit is not documented; `index_units` finds it.

    Returns:
        Of these the ones that are in the file, float64: areas (2, T) of cavity and myocardium, dims (3, T) of
        IS-AL, I-A and IL-AS, rwt (6, T) of IS, I, IL, AL, A and AS, lv_phase (T,), 1 in systole and 0 in diastole.

    Raises:
        InputError: an index has an unusable shape, or is not finite.
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
                    "shape", f"{path}: {name} of shape {values.shape}; expected ({rows}, frames): correct the file"
                )
            indices[name] = values
    if "lv_phase" in arrays:
        phase = arrays["lv_phase"].astype(np.float64)
        if phase.size != max(phase.shape):
            raise InputError("shape", f"{path}: lv_phase of shape {phase.shape}; expected one value a frame")
        indices["lv_phase"] = phase.ravel()
    for name, values in indices.items():
        if not np.isfinite(values).all():
            raise InputError("non-finite", f"{path}: {name} has values that are NaN or infinite; correct the file")
    return indices


def index_units(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, str]:
    """The units of areas, dims and rwt, found by comparing them with the study's masks.

    Areas are compared with the masks' own, diameters and wall thicknesses with those of circles of the same areas,
    as the median over the frames in which the masks show anything. Where there are areas, they decide for all three:
    a diameter in mm is too close to one in pixels of a millimetre.

    Args:
        indices: from read_indices.
        study: the same file's, with labels.

    Returns:
        For each of the three that there are: "mm", "cm", "px" or "image", a fraction of the image's mean side; of
        areas their squares, "image" being the fraction of the image's area.

    Raises:
        InputError: the study has no labels or another number of frames, or not one unit alone makes an index agree
            with the masks: areas to 10 %, the others to 30 %.
    """
    return {name: unit for name, (unit, _) in _units(indices, study).items()}


def indices_in_mm(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, np.ndarray]:
    """The indices with areas in mm², dims and rwt in mm; arguments and errors as for index_units."""
    units = _units(indices, study)
    return {name: values * units[name][1] if name in units else values for name, values in indices.items()}


def _units(indices: Mapping[str, np.ndarray], study: Study) -> dict[str, tuple[str, float]]:
    """The unit of each index and its size in mm or mm²."""
    if study.labels is None:
        raise InputError("no-labels", f"{study.name}: no masks to compare the indices with")
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
                "shape", f"{study.name}: {name} of {values.shape[1]} frames, images of {expected.shape[1]}"
            )
        if name != "areas":
            values = values.mean(axis=0, keepdims=True)
        shown = (expected > 0) & (values > 0)
        if not shown.any():
            raise InputError("index-unit", f"{study.name}: no frame to compare {name} with; the masks are empty")
        power, tolerance = (2, 0.1) if name == "areas" else (1, 0.3)
        candidates = [found["areas"][0]] if "areas" in found else list(sides)
        ratios = {u: np.median(values[shown] * sides[u] ** power / expected[shown]) for u in candidates}
        fitting = [unit for unit, ratio in ratios.items() if abs(ratio - 1) <= tolerance]
        # Pixels of a millimetre are millimetres.
        if len({round(sides[unit], 6) for unit in fitting}) != 1:
            told = ", ".join(f"{ratio:.3g} in {unit}" for unit, ratio in ratios.items())
            raise InputError(
                "index-unit",
                f"{study.name}: {name} in {' or '.join(fitting) or 'no known unit'}; relative to the masks {told}: "
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
    """(H, W[, T]) → (T, 1, H, W); MATLAB drops a last axis of length 1."""
    if array.ndim not in (2, 3) or not array.size:
        raise InputError("shape", f"{path}: {name} of shape {array.shape}; expected (rows, columns, frames)")
    frames = array if array.ndim == 3 else array[..., None]
    return np.moveaxis(frames, 2, 0)[:, None]


def _as_mask(array: np.ndarray, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    mask = _as_frames(array, name, path)
    if mask.shape != shape:
        raise InputError(
            "shape-mismatch",
            f"{path}: image {shape} and {name} {mask.shape} differ in shape (T, Z, H, W); correct the file",
        )
    if not np.isfinite(mask).all() or (mask < 0).any():
        raise InputError(
            "unknown-label", f"{path}: {name} has values that are negative or not finite; expected 0 and 1"
        )
    return mask > 0


def _spacing(array: np.ndarray, path: Path) -> tuple[float, float]:
    """(row, column) in mm, from one value for both or one for each."""
    values = [float(value) for value in array.ravel()]
    low, high = SPACING_RANGE_MM
    if len(values) not in (1, 2) or not all(low <= value <= high for value in values):
        raise InputError(
            "spacing",
            f"{path}: pix_spacing is {values[:8]}; expected one or two values from {low:g} to {high:g} mm a pixel",
        )
    return values[0], values[-1]
