"""Finds the studies in the files and folders of a prediction, and records what is left out."""

import dataclasses
import functools
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from foanet_jax.data.dicom import DicomSource, find_dicom, is_dicom
from foanet_jax.data.dicom.files import MOST_FILES
from foanet_jax.data.dicom.stacks.selection import LeftOut
from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.formats import SUFFIXES as OTHER_SUFFIXES
from foanet_jax.data.formats import data_files, is_other_format
from foanet_jax.data.formats.pair import HEADERS, IMAGES, partners
from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.geometry import given_spacing
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis, to_canonical
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.patients.info import body_beside
from foanet_jax.data.readers.lvquan19 import read_lvquan19
from foanet_jax.data.refs import StudyRef, empty_root, existing, natural_key, safe_case
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import Identity, identity

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

SUFFIXES = (".nii", ".nii.gz", ".mat", *OTHER_SUFFIXES)
LABEL_ENDINGS = ("_gt", "_label", "_seg", "_dseg", "_mask", ".seg")
LABEL_FOLDERS = ("labels", "labelstr", "labelsts")
# The page of all studies is index.html, so that no study can have this name.
_TAKEN = ("index",)
# Files with these endings must be DICOM images. If they are not, they are damaged.
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Files with these endings hold the voxels that belong to a separate header file.
_DATA_SUFFIXES = (".raw", ".zraw", ".raw.gz", ".gz")

HIDDEN = "hidden files"
LABELS = f"label files ({', '.join('…' + ending for ending in LABEL_ENDINGS)}, folders called labels)"
LINKED_FOLDERS = "links to folders"
COPIES = "copies of DICOM images that an earlier prediction wrote"
OTHER = "other kinds of files"


@dataclasses.dataclass
class Found:
    """The studies of a prediction, and the files they come from.

    Attributes:
        refs: the studies. Loading a study that cannot be read raises InputError.
        dicom: the cases that are read from DICOM files.
        files: all files of the input, by identity: the files of studies and the ignored files.
        read: the subset of `files` that studies are read from.
        passed_over: number of ignored files, by reason.
        kinds: number of files by their ending, for the reason `OTHER`.
        left_out: DICOM series that are not segmented, by the case of their patient; "" if the patient has no case.
        series: what each DICOM series seems to show, by number.
        matched: the words of --series that name a series.
    """

    refs: list[StudyRef] = dataclasses.field(default_factory=list)
    dicom: set[str] = dataclasses.field(default_factory=set)
    files: dict[Identity, Path] = dataclasses.field(default_factory=dict)
    read: dict[Identity, Path] = dataclasses.field(default_factory=dict)
    passed_over: Counter[str] = dataclasses.field(default_factory=Counter)
    kinds: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: dict[str, list[LeftOut]] = dataclasses.field(default_factory=dict)
    series: dict[str, str] = dataclasses.field(default_factory=dict)
    matched: set[str] = dataclasses.field(default_factory=set)

    def describe(self) -> str:
        """Returns one line that says what was ignored and why; empty if nothing was ignored."""
        parts = []
        for reason, number in self.passed_over.items():
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
            parts.append(f"{number} {reason}{f' ({kinds})' if reason == OTHER else ''}")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A study that has no id yet: the name from which the id is made, and a function that loads it with this id."""

    stem: str
    load: Callable[[str], Study]
    source: str
    is_dicom: bool = False
    left_out: Sequence[LeftOut] = ()


@dataclasses.dataclass(frozen=True)
class _Reading:
    """The options for reading files; see `find_studies`."""

    third_axis: ThirdAxis
    classes: tuple[str, ...]
    slice_axis: SliceAxis | None
    spacing_mm: tuple[float, float, float] | None = None
    dicom: Wanted = DEFAULT


def read_input(
    path: Paths,
    *,
    third_axis: ThirdAxis = "slice",
    classes: tuple[str, ...] = LV_CLASSES,
    slice_axis: SliceAxis | None = None,
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
) -> list[StudyRef]:
    """Returns the studies that `find_studies` finds."""
    found = find_studies(
        path, third_axis=third_axis, classes=classes, slice_axis=slice_axis, spacing_mm=spacing_mm, dicom=dicom
    )
    return found.refs


def find_studies(
    paths: Paths,
    *,
    third_axis: ThirdAxis = "slice",
    classes: tuple[str, ...] = LV_CLASSES,
    slice_axis: SliceAxis | None = None,
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
) -> Found:
    """Finds the unlabelled studies in files and folders, and in the folders below.

    The formats are NIfTI, NRRD, MetaImage, pairs of .hdr and .img, LVQuan19's .mat, and DICOM with any file name. The
    name of a study is the name of its file, with the names of the folders below the given folder in front. If the name
    of the file starts with the name of one of these folders, as in BIDS, that folder and those below it are left out.
    In folders, hidden files, label files and files of other kinds are counted, but not read. Any other file that cannot
    be read becomes a study that raises an error when it is loaded.

    Args:
        paths: a file, a folder or a pattern such as `scans/*/cine.nii.gz`, or several of them.
        third_axis: the meaning of the third axis of 3D files.
        classes: the classes that will be predicted.
        slice_axis: the axis along which volumes are reoriented and sliced, as in MM-WHS2017; None: they are not
            reoriented.
        spacing_mm: distances of slices, rows and columns, which replace those in the headers of volumes. With this
            option, loading a study of another kind raises an error.
        dicom: the options for DICOM input.

    Raises:
        InputError: `spacing_mm` is not valid; a given path does not exist or has an unknown format; the folders contain
            nothing to read; or a series that `dicom` names does not exist.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    given = None if spacing_mm is None else given_spacing(spacing_mm)
    reading = _Reading(third_axis, classes, slice_axis, given, dicom)
    found = Found()
    candidates: list[_Candidate] = []
    seen: set[str] = set()
    every = [path for name in named for path in existing(Path(name))]
    for path in every:
        if path.is_dir():
            candidates += _in_folder(path, found, reading, seen, several=len(every) > 1)
        elif os.path.abspath(path) not in seen:
            seen.add(os.path.abspath(path))
            candidates += _file(path, found, reading)
    _require_series(reading, found)
    if not candidates:
        told = found.describe()
        wanted = f"*.nii, *.nii.gz, {', '.join('*' + suffix for suffix in SUFFIXES[2:])}, DICOM files"
        raise empty_root(every[0], wanted + (f" (passed over: {told})" if told else ""))
    taken = set(_TAKEN)
    for candidate in candidates:
        case = _case(candidate, taken)
        found.refs.append(StudyRef(case, case, None, functools.partial(candidate.load, case), source=candidate.source))
        if candidate.is_dicom:
            found.dicom.add(case)
        if candidate.left_out:
            found.left_out[case] = list(candidate.left_out)
    return found


def source_of(ref: StudyRef, study: Study, found: Found) -> str:
    """Returns the file or folder of a study, relative to the folder that the user named."""
    if ref.case not in found.dicom or study.source is None:
        return ref.source
    try:
        inside = os.path.relpath(os.path.realpath(study.source), os.path.realpath(ref.source))
    except ValueError:  # on different drives
        return ref.source
    return ref.source if inside == "." or inside.startswith("..") else inside


def files_of(study: Study) -> list[Path]:
    """Returns the files that a study was read from; an empty list for a study made in memory."""
    if isinstance(study.header, DicomSource):
        return [file for row in study.header.files for file in row]
    if study.source is None:
        return []
    return data_files(study.source) if is_other_format(study.source) else [study.source]


def _case(candidate: _Candidate, taken: set[str]) -> str:
    """Returns the id of a study. Masks are named `…_seg`, so the image of a DICOM study must not have such a name."""
    stem = candidate.stem
    if candidate.is_dicom and stem.casefold().endswith("_seg"):
        stem += "-study"
    return safe_case(stem, taken)


def _file(path: Path, found: Found, reading: _Reading) -> list[_Candidate]:
    """Returns the studies of a file that the user named."""
    stem, suffix = split_name(path.name)
    _note(path, found.files)
    if is_dicom(path):
        _note(path, found.read)
        return _dicom(path, reading, found)
    if not suffix:
        raise InputError(
            "unknown-format", f"{path}: not one of {', '.join(SUFFIXES)}, nor DICOM; convert the file, such as to NIfTI"
        )
    return [_Candidate(stem, _loader(path, suffix, found, reading), str(path))]


def _in_folder(path: Path, found: Found, reading: _Reading, seen: set[str], *, several: bool) -> list[_Candidate]:
    """Returns the studies of a folder that the user named, and of the folders below it."""
    images: list[_Candidate] = []
    has_dicom = False
    not_dicom: dict[Path, list[str]] = {}
    for file, problem in _walk(path, found):
        if os.path.abspath(file) in seen:
            continue
        seen.add(os.path.abspath(file))
        parts = file.relative_to(path).parts
        source = str(file) if several else str(file.relative_to(path))
        if problem is not None:
            images.append(_failing(parts, problem, source))
            continue
        _note(file, found.files)
        stem, suffix = split_name(file.name)
        if is_dicom(file):
            has_dicom = True
            _note(file, found.read)
        elif not suffix:
            if file.name.lower().endswith(_DICOM_SUFFIXES):
                not_dicom.setdefault(file.parent, []).append(file.name)
            elif not _belongs_to_a_header(file):
                _pass_over(file, found)
        elif stem.lower().endswith(LABEL_ENDINGS) or any(part.lower() in LABEL_FOLDERS for part in parts[:-1]):
            found.passed_over[LABELS] += 1
        elif _is_copy(file):
            found.passed_over[COPIES] += 1
        elif (suffix in IMAGES and partners(file, HEADERS)) or (suffix == ".mat" and _orients_a_pair(file)):
            continue  # This file is read together with its header.
        else:
            images.append(_Candidate(stem_below(parts, stem), _loader(file, suffix, found, reading), source))
    for folder, names in not_dicom.items():
        problem = InputError(
            "not-dicom",
            f"{folder / names[0]}: {len(names)} files here are called as DICOM images are, but are none (no DICM after "
            "128 bytes); copy or export them again",
        )
        source = str(folder) if several else os.path.relpath(folder, path)
        images.append(_failing((*folder.relative_to(path).parts, names[0]), problem, source))
    if has_dicom:
        try:
            images += _dicom(path, reading, found)
        except InputError as error:
            if not images:
                raise
            images.append(_failing((path.resolve().name,), error, str(path)))
    return images


def _walk(folder: Path, found: Found) -> Iterator[tuple[Path, InputError | None]]:
    """Yields the files in a folder and below, in order, each with its error if it cannot be read, else None.

    Hidden files and links to folders are counted, but not followed.
    """
    count = 0
    unreadable: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found.passed_over[LINKED_FOLDERS] += len(links)
        hidden = [name for name in folders if name.startswith(".") and name not in links]
        found.passed_over[HIDDEN] += len(hidden)
        folders[:] = sorted((name for name in folders if name not in (*links, *hidden)), key=natural_key)
        for name in sorted(names, key=natural_key):
            count += 1
            if count > MOST_FILES:
                raise InputError(
                    "too-many-files", f"{folder}: more than {MOST_FILES} files; pass the folder of fewer patients"
                )
            path = Path(parent) / name
            if name.startswith("."):
                found.passed_over[HIDDEN] += 1
                _note(path, found.files)
                continue
            yield path, _wrong(path)
    for error in unreadable:
        path = Path(os.fsdecode(error.filename))
        text = f"{path}: this folder cannot be read ({error.strerror}); check its permissions"
        yield path, InputError("unreadable", text)
    for reason in (LINKED_FOLDERS, HIDDEN):
        if not found.passed_over[reason]:
            del found.passed_over[reason]


def _wrong(path: Path) -> InputError | None:
    """Returns the error of a file that cannot be read in any format; None if it can be opened."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            return InputError("missing-file", f"{path}: a link to a file that is not there; put the file itself there")
        return InputError("unreadable", f"{path}: cannot be read ({error.strerror}); check its permissions")
    if not stat.S_ISREG(mode):
        return InputError("not-a-file", f"{path}: a pipe or device, not a file; remove it")
    if not os.access(path, os.R_OK):
        return InputError("unreadable", f"{path}: cannot be read; check its permissions")
    return None


def _failing(parts: Sequence[str], problem: InputError, source: str) -> _Candidate:
    """Makes a study that raises `problem` when it is loaded, so that the error is reported for this study."""

    def refuse(case: str) -> Study:
        raise problem

    return _Candidate(stem_below(parts, split_name(parts[-1])[0]), refuse, source)


def stem_below(parts: Sequence[str], stem: str) -> str:
    """Returns the name of a study from its path below the folder that the user named.

    `p1/cine.nii.gz` becomes `p1_cine`. `sub-01/anat/sub-01_cine.nii.gz` becomes `sub-01_cine`, because the name of the
    file starts with that of the folder.
    """
    parents = parts[:-1]
    for place, parent in enumerate(parents):
        if stem == parent or (stem.startswith(parent) and stem[len(parent)] in "_-. "):
            return "_".join([*parents[:place], stem])
    return "_".join([*parents, stem])


def split_name(name: str) -> tuple[str, str]:
    """Returns the stem and the suffix of a file name; the suffix is empty if it is not one of SUFFIXES."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def _loader(path: Path, suffix: str, found: Found, reading: _Reading) -> Callable[[str], Study]:
    files = [path]
    if suffix in OTHER_SUFFIXES:
        files += data_files(path)
    for file in files:
        _note(file, found.read)
        _note(file, found.files)
    if suffix == ".mat":
        return functools.partial(_load_mat, path, reading)
    return functools.partial(_load_volume, path, reading)


def _orients_a_pair(path: Path) -> bool:
    """Whether a .mat file belongs to a .hdr/.img pair of the same name. SPM stores the pair's orientation in it."""
    return bool(partners(path.with_suffix(".hdr"), HEADERS))


def _belongs_to_a_header(path: Path) -> bool:
    """Whether a file belongs to another file in its folder: it has the voxels of a header, or the times of an image."""
    name = path.name
    if name.lower().endswith(".json"):
        stem = name[: -len(".json")]
        return any((path.parent / f"{stem}{suffix}").exists() for suffix in SUFFIXES)
    ending = next((ending for ending in (".raw.gz", ".zraw", ".raw") if name.lower().endswith(ending)), None)
    if ending is None:
        return False
    stem = name[: -len(ending)]
    return any((path.parent / f"{stem}{suffix}").exists() for suffix in (".mhd", ".nhdr", ".mha", ".nrrd"))


def _is_copy(path: Path) -> bool:
    """Whether a NIfTI file is a copy of DICOM images from an earlier prediction, with its mask and tables beside it."""
    stem = path.name.removesuffix(".nii.gz")
    if stem == path.name:
        return False
    beside = [path.with_name(name) for name in (f"{stem}_seg.nii.gz", "labels.txt", "labels.ctbl", "predictions.json")]
    if not all(other.exists() for other in beside):
        return False
    return f'"image": {json.dumps(path.name)}' in _beginning(beside[-1])


def _beginning(path: Path, most: int = 2**24) -> str:
    """Returns the first `most` bytes of a file as text, without errors for other encodings; "" if it is unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read(most).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _pass_over(path: Path, found: Found) -> None:
    found.passed_over[OTHER] += 1
    found.kinds[path.suffix.lower() or "no ending"] += 1


def _note(path: Path, files: dict[Identity, Path]) -> None:
    whose = identity(path)
    if whose is not None:
        files.setdefault(whose, path)


def _dicom(path: Path, reading: _Reading, found: Found) -> list[_Candidate]:
    listing = find_dicom(path, classes=reading.classes, wanted=reading.dicom)
    for file in listing.files:
        _note(file, found.files)
        _note(file, found.read)
    found.series.update(listing.series)
    found.matched |= listing.matched
    found.left_out.setdefault("", []).extend(listing.left_out.get("", []))
    return [
        _Candidate(
            ref.case,
            functools.partial(_load_dicom, ref.load, reading),
            str(path),
            is_dicom=True,
            left_out=listing.left_out.get(ref.case, ()),
        )
        for ref in listing.refs
    ]


def _require_series(reading: _Reading, found: Found) -> None:
    """Checks that each word of --series names a series of at least one patient."""
    missing = [word for word in reading.dicom.series if word not in found.matched]
    if missing:
        there = ", ".join(f"{number} ({what})" for number, what in sorted(found.series.items(), key=_by_number))
        raise InputError(
            "no-series",
            f"--series={','.join(missing)}: no such series; the DICOM series of the input are: {there or 'none'}",
        )


def _by_number(item: tuple[str, str]) -> list[tuple[int, int, str]]:
    return natural_key(item[0])


def _load_dicom(load: Callable[[], Study], reading: _Reading, case: str) -> Study:
    study = load()
    _require_own_spacing(study.name, reading)
    return dataclasses.replace(study, case=case)


def _load_volume(path: Path, reading: _Reading, case: str) -> Study:
    volume = read_nifti(path, third_axis=reading.third_axis, spacing_mm=reading.spacing_mm)
    if reading.slice_axis is not None:
        volume = to_canonical(volume, reading.slice_axis)
    return study_from_volume(volume, patient=case, case=case, classes=reading.classes, body=body_beside(path))


def _load_mat(path: Path, reading: _Reading, case: str) -> Study:
    _require_own_spacing(str(path), reading)
    study = read_lvquan19(path, case=case, require_labels=False)
    return dataclasses.replace(study, labels=None, classes=reading.classes)


def _require_own_spacing(name: str, reading: _Reading) -> None:
    """Raises InputError if the user gave a spacing for a study whose file always has a reliable spacing."""
    if reading.spacing_mm is not None:
        raise InputError(
            "spacing",
            f"{name}: DICOM and .mat files are read with their own spacing; segment this study without --spacing_mm",
        )
