"""Sunnybrook Cardiac Data: short-axis cines in DICOM and expert contours of the left ventricle at ED and ES.

Contours count pixels from 1: (1, 1) is the centre of the first pixel, as in MATLAB. No document says so; the images
do, those of SC-HF-I-1 and SC-HF-I-4: the 38 inner contours lie on the steepest edges at (−1.1 ± 0.1, −1.0 ± 0.2) px,
and the 19 pairs at end diastole tell cavity from myocardium best at −1 px (Fisher's ratio of 1.97, against 1.82 at 0
and 1.74 at −2). Points are multiples of half a pixel, so that a quarter of a pixel is as close as this can come.
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
        frame: its frame t in the cine.
        slice: its slice z in the cine.
        points: (N, 2) float64, column and row of each point in px, 0 at the centre of the first pixel: what the file
            has, less 1. The last point is joined to the first.
        path: the contour's file.
    """

    kind: Kind
    frame: int
    slice: int
    points: np.ndarray
    path: Path


@dataclasses.dataclass(frozen=True)
class _Patient:
    """Where a patient's files are: image and contour files by the number in their names."""

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
    """One study for each patient with contours: the labelled slices at end diastole, or the whole cine.

    A labelled study is (1, Z, H, W): of each slice with both contours its frame of end diastole, the one with the
    larger cavity where there are two. Experts drew the outer contour at end diastole only, so that nothing else has
    a myocardium; read_contours has the inner ones at end systole. Slices have to follow each other: of several runs
    of labelled slices the longest is taken, and the others are logged.

    Patients are called by their original ids, as SC-HF-I-1, and grouped by them: HF-I, HF-NI, HYP or N.

    Args:
        root: of the layout dicoms/<patient>/N.dcm, contourfiles/<original>/{i,o}-contours/ and link.csv, or of the
            official one, [SCD_IMAGES_XX/]<patient>/CINESAX_N/IM-XXXX-NNNN.dcm, SCD_ManualContours/<original>/
            contours-manual/IRCCI-expert/ and scd_patientdata.csv. Contour IM-0001-NNNN belongs to image NNNN.
        frames: "labelled", or "cine" for all frames of all slices without labels.
        problems: where given, problems of single patients are added here instead of raised.

    Raises:
        InputError: the folder is missing or has no patients, or "incomplete" with every missing file named.
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
    """The whole cine (T, Z, H, W) of a patient, without labels, to predict on.

    Args:
        root: as in list_sunnybrook.
        patient: the original id, as SC-HF-I-1.

    Raises:
        InputError: there is no such patient, or its images cannot be used.
    """
    return _read_cine(_find(root, patient))


def read_contours(root: str | os.PathLike[str], patient: str) -> list[Contour]:
    """All contours of a patient, in order of slice and frame: both kinds at end diastole, the inner at end systole.

    Raises:
        InputError: there is no such patient, a contour belongs to no image, or its file cannot be used.
    """
    found = _find(root, patient)
    return _contours(found, _read_cine(found))


def fill_contour(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The (H, W) mask of pixels whose centres lie inside a closed polygon, by the even-odd rule.

    A centre on the outline counts as inside to the left of the polygon and above it, outside to the right and below,
    so that no pixel is counted twice or missed where two polygons meet, and areas come out unbiased. Where an outline
    runs through centres all around, its mask lies half a pixel further left and up than it does.

    Args:
        points: (N, 2) column and row in px, 0 at the centre of the first pixel.
        shape: (H, W).
    """
    height, width = shape
    x, y = points[:, 0], points[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(height)[:, None]
    # Half-open, so that a row through a corner crosses its two edges once or twice, never one and a half times.
    row, edge = np.nonzero((y <= rows) != (next_y <= rows))
    crossing = x[edge] + (row - y[edge]) * (next_x - x)[edge] / (next_y - y)[edge]
    flips = np.zeros((height, width + 1), np.int64)
    # A crossing flips all columns to its left.
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
            f"{cine.name}: no image with an inner and an outer contour; copy {found.patient}'s contours again",
        )
    runs = np.split(np.array(sorted(frame_of)), np.flatnonzero(np.diff(sorted(frame_of)) > 1) + 1)
    chosen = max(runs, key=len).tolist()
    if len(runs) > 1:
        left_out = [z + 1 for run in runs for z in run.tolist() if z not in chosen]
        LOGGER.warning("%s: labelled slices %s do not follow the others and are left out", found.patient, left_out)
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
                "missing-image", f"{path}: no image {number} beside {cine.name}; copy the patient's images again"
            )
        t, z = place_of[found.images[number]]
        contours.append(Contour(_KINDS[kind], t, z, _read_contour(path, (shape[0], shape[1])), path))
    return sorted(contours, key=lambda contour: (contour.slice, contour.frame, contour.kind))


def _read_contour(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(N, 2) column and row in px, counted from 0.

    Raises:
        InputError: not lines of two numbers, fewer than three points, or one of them outside the image.
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
        # Written so that NaN fails too.
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
            "contour", f"{path}: {distinct} different points; a contour has 3 or more: copy the file again"
        )
    return np.array(points)


def _read_text(path: Path) -> str:
    try:
        # Whatever else has this name, such as a pipe, could be read for ever.
        if path.exists() and not path.is_file():
            raise InputError("unreadable", f"{path}: not a file; copy it again")
        with open(path, "rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
    except OSError as error:
        raise InputError("unreadable", f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if len(content) > _LARGEST_TEXT:
        raise InputError("too-large", f"{path}: more than {_LARGEST_TEXT} bytes; expected a short text file")
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
        f"{root}: no patient {patient!r}{': ' if about else ''}{'; '.join(about)}; there are {known or 'none'}",
    )


def _patients(root: Path, problems: list[str]) -> list[_Patient]:
    """All patients with contours, in order of the table that ties images to contours."""
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
        # The official table lists patients without contours too.
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
        # Of several short-axis series the contours belong to the one that has all of their numbers.
        images = next((files for files in series if numbers <= files.keys()), None)
        if images is None:
            most = max(series, key=len, default={})
            absent = ", ".join(map(str, sorted(numbers - most.keys())[:8]))
            problems.append(f"{image_folders[patient_id][0].parent}: no images {absent} of {original}'s contours")
            continue
        patients.append(_Patient(original, images, contours))
    for key in contour_folders.keys() - seen:
        problems.append(f"{contour_folders[key]}: not in {link.name}; add its line")
    return patients


def _read_links(link: Path) -> list[tuple[str, str]]:
    """(id of the images, original id) of each line."""
    # Line by line and cut, because csv raises errors of its own on stray line ends and on endless fields.
    rows = [row for line in _read_text(link).splitlines() for row in csv.reader([line[:1000]])]
    header = [re.sub(r"[^a-z]", "", name.lower()) for name in rows[0]] if rows else []
    if "patientid" not in header or "originalid" not in header:
        raise InputError("link", f"{link}: no columns patient_id and original_id; copy the file again")
    columns = header.index("patientid"), header.index("originalid")
    pairs = [tuple(row[column].strip() for column in columns) for row in rows[1:] if len(row) > max(columns)]
    for pair in pairs:
        # Ids become names of folders and files.
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) for name in pair):
            raise InputError("link", f"{link}: {pair[0][:40]!r}, {pair[1][:40]!r} are no ids; correct the line")
    return [(pair[0], pair[1]) for pair in pairs]


def _folder_key(original: str) -> str:
    """SC-HF-I-1 and SC-HF-I-01 are the same patient: the official contour folders have leading zeros."""
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
    """Files by kind and number, and what is wrong with them."""
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
    """The folders of short-axis images of each patient."""
    parents: Sequence[Path] = [root / "dicoms", root, *(path for path in visible(root.glob("SCD_*")) if path.is_dir())]
    found: dict[str, list[Path]] = {}
    for parent in parents:
        for folder in visible(parent.iterdir()) if parent.is_dir() else []:
            if re.fullmatch(r"SCD\d{7}", folder.name) and folder.is_dir():
                series = [path for path in visible(folder.glob("CINESAX*")) if path.is_dir()]
                found.setdefault(folder.name, []).extend(series or [folder])
    return found


def _image_files(folder: Path) -> dict[int, Path]:
    """Images by number: N.dcm or IM-XXXX-NNNN.dcm."""
    files = {}
    for path in visible(folder.iterdir()):
        match = re.fullmatch(r"(?:IM-\d+-)?0*(\d{1,6})\.dcm", path.name, re.IGNORECASE)
        if match and is_dicom(path):
            files[int(match[1])] = path
    return files
