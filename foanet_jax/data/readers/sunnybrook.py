"""Reader of Sunnybrook Cardiac Data: short-axis cines in DICOM, expert contours of the left ventricle at ED and ES.

The contours count pixels from 1: (1, 1) is the centre of the first pixel, as in MATLAB. This is not documented. It was
found from the images of SC-HF-I-1 and SC-HF-I-4: the 38 inner contours fit the steepest edges best when they are
shifted by (−1.1 ± 0.1, −1.0 ± 0.2) px. With the 19 pairs of contours at end diastole, cavity and myocardium are
separated best at a shift of −1 px (Fisher's ratio of 1.97, against 1.82 at 0 and 1.74 at −2). Points are multiples of
half a pixel, so that the accuracy of this estimate is limited to a quarter of a pixel.
"""

import csv
import dataclasses
import functools
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from foanet_jax.data.dicom import DicomSource, is_dicom, read_dicom_series
from foanet_jax.data.refs import StudyRef, empty_root, raise_problems, require_root, visible
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)

Frames = Literal["labelled", "cine"]
Kind = Literal["endocardium", "epicardium"]

_KINDS: dict[str, Kind] = {"i": "endocardium", "o": "epicardium"}
_LINKS = ("link.csv", "scd_patientdata.csv")
_LARGEST_TEXT = 2**20


@dataclasses.dataclass(frozen=True)
class Contour:
    """One expert contour.

    Attributes:
        kind: the inner (i) or the outer (o) border of the myocardium.
        frame: index t of the frame in the cine.
        slice: index z of the slice in the cine.
        points: (N, 2) float64, column and row of each point in px, with 0 at the centre of the first pixel (the values
            in the file minus 1). The contour is closed: the last point is connected to the first.
        path: file of the contour.
    """

    kind: Kind
    frame: int
    slice: int
    points: np.ndarray
    path: Path


@dataclasses.dataclass(frozen=True)
class _Patient:
    """The files of a patient: images and contours by the number in their names."""

    patient: str
    images: dict[int, Path]
    contours: dict[tuple[str, int], Path]

    @property
    def group(self) -> str | None:
        match = re.fullmatch(r"SC-([A-Z]+(?:-[A-Z]+)?)-\d+", self.patient)
        return match[1] if match else None


def list_sunnybrook(
    root: str | os.PathLike[str], *, frames: Frames = "labelled", problems: list[str] | None = None
) -> list[StudyRef]:
    """Lists one study for each patient with contours: the labelled slices at end diastole, or the whole cine.

    A labelled study has the shape (1, Z, H, W). It contains, for each slice with both contours, the frame at end
    diastole; if there are two such frames, the one with the larger cavity. The experts drew the outer contour at end
    diastole only, so that other frames have no label of the myocardium; `read_contours` returns the inner contours at
    end systole. The slices must be consecutive: of several runs of labelled slices, the longest is used, and the others
    are named in the log.

    Patients have their original ids, such as SC-HF-I-1, which also give their group: HF-I, HF-NI, HYP or N.

    Args:
        root: a folder with dicoms/<patient>/N.dcm, contourfiles/<original>/{i,o}-contours/ and link.csv; or with the
            official layout, [SCD_IMAGES_XX/]<patient>/CINESAX_N/IM-XXXX-NNNN.dcm, SCD_ManualContours/<original>/
            contours-manual/IRCCI-expert/ and scd_patientdata.csv. The contour IM-0001-NNNN belongs to the image NNNN.
        frames: "labelled", or "cine" for all frames of all slices without labels.
        problems: if given, problems of single patients are appended to it instead of being raised.

    Raises:
        InputError: the folder is missing or has no patients; or "incomplete", which lists all missing files.
    """
    if frames not in ("labelled", "cine"):
        raise InputError("frames", f"frames is {frames!r}; choose 'labelled' or 'cine'")
    root = require_root(Path(root))
    collected: list[str] = [] if problems is None else problems
    patients = _patients(root, collected)
    if problems is None:
        raise_problems(root, collected)
    refs = []
    for found in patients:
        case = f"{found.patient}_{'ed' if frames == 'labelled' else 'cine'}"
        read = _read_labelled if frames == "labelled" else _read_cine
        load = functools.partial(read, found)
        refs.append(StudyRef(found.patient, case, found.group, load, functools.partial(_load_voxels, load)))
    return refs


def _load_voxels(load: Callable[[], Study]) -> np.ndarray:
    return load().voxels


def read_sunnybrook_cine(root: str | os.PathLike[str], patient: str) -> Study:
    """Reads the whole cine (T, Z, H, W) of a patient without labels, for predictions.

    Args:
        root: as for `list_sunnybrook`.
        patient: the original id, such as SC-HF-I-1.

    Raises:
        InputError: the patient does not exist, or the images cannot be used.
    """
    return _read_cine(_find(root, patient))


def read_contours(root: str | os.PathLike[str], patient: str) -> list[Contour]:
    """Reads all contours of a patient, sorted by slice and frame: both kinds at ED, the inner ones at ES.

    Args:
        root: as for `list_sunnybrook`.
        patient: the original id, such as SC-HF-I-1.

    Raises:
        InputError: the patient does not exist, a contour has no image, or a file cannot be used.
    """
    found = _find(root, patient)
    return _contours(found, _read_cine(found))


def fill_contour(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Fills a closed polygon: returns the mask of the pixels whose centres lie inside, by the even-odd rule.

    A pixel centre exactly on the outline counts as inside on the left and upper sides of the polygon, and as outside on
    the right and lower sides. Adjacent polygons therefore neither share nor miss pixels, and areas are unbiased. If an
    outline runs through pixel centres everywhere, the mask is shifted by half a pixel to the left and upwards.

    Args:
        points: (N, 2) column and row in px, with 0 at the centre of the first pixel.
        shape: (H, W).

    Returns:
        (H, W) boolean.
    """
    height, width = shape
    x, y = points[:, 0], points[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(height)[:, None]
    # Half-open intervals, so that a row through a corner crosses an even number of edges in total.
    row, edge = np.nonzero((y <= rows) != (next_y <= rows))
    crossing = x[edge] + (row - y[edge]) * (next_x - x)[edge] / (next_y - y)[edge]
    flips = np.zeros((height, width + 1), np.int64)
    # Each crossing inverts all pixels to its left.
    np.add.at(flips, (row, np.clip(np.ceil(crossing), 0, width).astype(int)), 1)
    to_the_right = np.cumsum(flips[:, ::-1], axis=1)[:, ::-1]
    return to_the_right[:, 1:] % 2 == 1


def _read_cine(found: _Patient) -> Study:
    study = read_dicom_series(
        found.images.values(), patient=found.patient, case=f"{found.patient}_cine", classes=LV_CLASSES
    )
    return dataclasses.replace(study, group=found.group)


def _read_labelled(found: _Patient) -> Study:
    cine = _read_cine(found)
    height, width = cine.voxels.shape[2:]
    masks: dict[tuple[int, int], dict[Kind, np.ndarray]] = {}
    for contour in _contours(found, cine):
        masks.setdefault((contour.slice, contour.frame), {})[contour.kind] = fill_contour(
            contour.points, (height, width)
        )
    frame_of: dict[int, int] = {}
    for (z, t), pair in masks.items():
        if len(pair) == len(_KINDS):
            other = frame_of.get(z)
            if other is None or pair["endocardium"].sum() > masks[z, other]["endocardium"].sum():
                frame_of[z] = t
    if not frame_of:
        raise InputError(
            "no-labels",
            f"{cine.name}: no image has both an inner and an outer contour; copy the contours of {found.patient} again",
        )
    runs = np.split(np.array(sorted(frame_of)), np.flatnonzero(np.diff(sorted(frame_of)) > 1) + 1)
    chosen = max(runs, key=len).tolist()
    if len(runs) > 1:
        left_out = [z + 1 for run in runs for z in run.tolist() if z not in chosen]
        LOGGER.warning(
            "%s: the labelled slices %s are not adjacent to the others and are left out", found.patient, left_out
        )
    voxels = np.stack([cine.voxels[frame_of[z], z] for z in chosen])[None]
    labels = np.zeros(voxels.shape, np.uint8)
    for place, z in enumerate(chosen):
        pair = masks[z, frame_of[z]]
        labels[0, place][pair["epicardium"]] = LV_CLASSES.index("myocardium")
        labels[0, place][pair["endocardium"]] = LV_CLASSES.index("cavity")
    affine = cine.affine.copy()
    affine[:, 3] = cine.affine @ [0, 0, chosen[0], 1]
    files = _source(cine).files
    return validate_study(
        dataclasses.replace(
            cine,
            case=f"{found.patient}_ed",
            voxels=voxels,
            labels=labels,
            affine=affine,
            header=DicomSource((tuple(files[frame_of[z]][z] for z in chosen),)),
        )
    )


def _source(cine: Study) -> DicomSource:
    assert isinstance(cine.header, DicomSource)
    return cine.header


def _contours(found: _Patient, cine: Study) -> list[Contour]:
    place_of = {path: (t, z) for t, row in enumerate(_source(cine).files) for z, path in enumerate(row)}
    shape = cine.voxels.shape[2:]
    contours = []
    for (kind, number), path in found.contours.items():
        if number not in found.images:
            raise InputError(
                "missing-image", f"{path}: image {number} of {cine.name} is missing; copy the patient's images again"
            )
        t, z = place_of[found.images[number]]
        contours.append(Contour(_KINDS[kind], t, z, _read_contour(path, (shape[0], shape[1])), path))
    return sorted(contours, key=lambda contour: (contour.slice, contour.frame, contour.kind))


def _read_contour(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads a contour file: (N, 2) column and row in px, counted from 0.

    Raises:
        InputError: a line does not have two numbers, there are fewer than three points, or one is outside the image.
    """
    text = _read_text(path)
    points = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            x, y = (float(word) for word in words)
        except ValueError:
            raise InputError(
                "contour", f"{path}: line {number} is {line[:40]!r}; expected two numbers, x and y: copy the file again"
            ) from None
        # This form of the condition also refuses NaN.
        if not (0.5 <= x <= shape[1] + 0.5 and 0.5 <= y <= shape[0] + 0.5):
            raise InputError(
                "contour",
                f"{path}: line {number}, ({x:g}, {y:g}), lies outside the image of {shape[1]} columns × {shape[0]} "
                "rows; use the contour that was drawn on this image",
            )
        points.append((x - 1, y - 1))
    distinct = len(set(points))
    if distinct < 3:
        raise InputError(
            "contour",
            f"{path}: has {distinct} different points, but a contour needs at least 3; copy the file again",
        )
    return np.array(points)


def _read_text(path: Path) -> str:
    try:
        # Something else than a file, such as a pipe, could block the reading for ever.
        if path.exists() and not path.is_file():
            raise InputError("unreadable", f"{path}: is not a file; copy it again")
        with open(path, "rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
    except OSError as error:
        raise InputError("unreadable", f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if len(content) > _LARGEST_TEXT:
        raise InputError(
            "too-large", f"{path}: has more than {_LARGEST_TEXT} bytes, but should be a short text file; copy it again"
        )
    return content.decode("utf-8-sig", errors="replace")


def _find(root: str | os.PathLike[str], patient: str) -> _Patient:
    root = require_root(Path(root))
    problems: list[str] = []
    patients = _patients(root, problems)
    for found in patients:
        if found.patient == patient:
            return found
    about = [problem for problem in problems if patient in problem]
    known = ", ".join(found.patient for found in patients)
    raise InputError(
        "unknown-patient",
        f"{root}: no patient {patient!r}{': ' if about else ''}{'; '.join(about)}; the patients are {known or 'none'}",
    )


def _patients(root: Path, problems: list[str]) -> list[_Patient]:
    """Finds all patients with contours, in the order of the table that links images and contours."""
    link = next((root / name for name in _LINKS if (root / name).is_file()), None)
    if link is None:
        raise empty_root(root, f"{' or '.join(_LINKS)} beside the folders of images and contours")
    image_folders = _image_folders(root)
    contour_folders = _contour_folders(root)
    if not contour_folders:
        raise empty_root(root, "contourfiles/<original>/i-contours, SCD_ManualContours/<original>/contours-manual")
    patients = []
    seen: set[str] = set()
    for patient_id, original in _read_links(link):
        key = _folder_key(original)
        # The official table also lists patients without contours.
        if key not in contour_folders:
            continue
        if key in seen:
            problems.append(f"{link}: {original} is listed twice; remove one of the lines")
            continue
        seen.add(key)
        contours, doubled = _contour_files(contour_folders[key])
        problems += doubled
        if not contours:
            problems.append(f"{contour_folders[key]}: no IM-0001-NNNN-icontour-manual.txt; copy the folder again")
            continue
        if patient_id not in image_folders:
            problems.append(f"{root}: no folder {patient_id} of images for {original}; copy it again")
            continue
        numbers = {number for _, number in contours}
        series = [_image_files(folder) for folder in image_folders[patient_id]]
        # If there are several short-axis series, the contours belong to the one that has all of their numbers.
        images = next((files for files in series if numbers <= files.keys()), None)
        if images is None:
            most = max(series, key=len, default={})
            absent = ", ".join(map(str, sorted(numbers - most.keys())[:8]))
            place = image_folders[patient_id][0].parent
            problems.append(
                f"{place}: no images {absent}, which the contours of {original} need; copy the images again"
            )
            continue
        patients.append(_Patient(original, images, contours))
    for key in contour_folders.keys() - seen:
        problems.append(f"{contour_folders[key]}: is not in {link.name}; add a line for it")
    return patients


def _read_links(link: Path) -> list[tuple[str, str]]:
    """Reads (id of the images, original id) from each line."""
    # Each line is parsed separately and cut off, because `csv` fails on stray line ends and on very long fields.
    rows = [row for line in _read_text(link).splitlines() for row in csv.reader([line[:1000]])]
    header = [re.sub(r"[^a-z]", "", name.lower()) for name in rows[0]] if rows else []
    if "patientid" not in header or "originalid" not in header:
        raise InputError("link", f"{link}: has no columns patient_id and original_id; copy the file again")
    columns = header.index("patientid"), header.index("originalid")
    pairs = [tuple(row[column].strip() for column in columns) for row in rows[1:] if len(row) > max(columns)]
    for pair in pairs:
        # Ids become names of folders and files.
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) for name in pair):
            raise InputError("link", f"{link}: {pair[0][:40]!r}, {pair[1][:40]!r} are not valid ids; correct the line")
    return [(pair[0], pair[1]) for pair in pairs]


def _folder_key(original: str) -> str:
    """Normalises an original id: official contour folders have leading zeros, as in SC-HF-I-01 for SC-HF-I-1."""
    return re.sub(r"0*(\d+)$", r"\1", original.upper())


def _contour_folders(root: Path) -> dict[str, Path]:
    parents = [root / "contourfiles", root / "SCD_ManualContours"]
    return {
        _folder_key(folder.name): folder
        for parent in parents
        if parent.is_dir()
        for folder in visible(parent.iterdir())
        if folder.is_dir()
    }


def _contour_files(folder: Path) -> tuple[dict[tuple[str, int], Path], list[str]]:
    """Returns the contour files by kind and number, and a list of problems."""
    places = [folder / "i-contours", folder / "o-contours", folder / "contours-manual" / "IRCCI-expert"]
    files: dict[tuple[str, int], Path] = {}
    problems = []
    for place in places:
        for path in visible(place.iterdir()) if place.is_dir() else []:
            match = re.fullmatch(r"IM-\d{4}-(\d{4})-([io])contour-manual\.txt", path.name)
            if match:
                key = match[2], int(match[1])
                if key in files:
                    problems.append(f"{path}: a second contour beside {files[key]}; remove one of them")
                files[key] = path
    return files, problems


def _image_folders(root: Path) -> dict[str, list[Path]]:
    """Returns the folders of short-axis images of each patient."""
    parents: Sequence[Path] = [root / "dicoms", root, *(path for path in visible(root.glob("SCD_*")) if path.is_dir())]
    found: dict[str, list[Path]] = {}
    for parent in parents:
        for folder in visible(parent.iterdir()) if parent.is_dir() else []:
            if re.fullmatch(r"SCD\d{7}", folder.name) and folder.is_dir():
                series = [path for path in visible(folder.glob("CINESAX*")) if path.is_dir()]
                found.setdefault(folder.name, []).extend(series or [folder])
    return found


def _image_files(folder: Path) -> dict[int, Path]:
    """Returns the images by number: N.dcm or IM-XXXX-NNNN.dcm."""
    files = {}
    for path in visible(folder.iterdir()):
        match = re.fullmatch(r"(?:IM-\d+-)?0*(\d{1,6})\.dcm", path.name, re.IGNORECASE)
        if match and is_dicom(path):
            files[int(match[1])] = path
    return files
