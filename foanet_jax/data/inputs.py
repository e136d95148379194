"""The studies in files and folders that somebody wants to predict on, and everything that is left out of them."""

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
from foanet_jax.data.readers.lvquan19 import read_lvquan19
from foanet_jax.data.refs import StudyRef, empty_root, existing, natural_key, safe_case
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import Identity, identity

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

SUFFIXES = (".nii", ".nii.gz", ".mat", *OTHER_SUFFIXES)
LABEL_ENDINGS = ("_gt", "_label", "_seg", "_dseg", ".seg")
LABEL_FOLDERS = ("labels", "labelstr", "labelsts")
# The page of all studies is index.html, so that no study can have that page.
_TAKEN = ("index",)
# Files with these endings are DICOM images, or are damaged.
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Voxels of a header beside them.
_DATA_SUFFIXES = (".raw", ".zraw", ".raw.gz", ".gz")

HIDDEN = "hidden files"
LABELS = f"label files ({', '.join('…' + ending for ending in LABEL_ENDINGS)}, folders called labels)"
LINKED_FOLDERS = "links to folders"
COPIES = "copies of DICOM images that an earlier prediction wrote"
OTHER = "other kinds of files"


@dataclasses.dataclass
class Found:
    """What there is to predict on.

    Attributes:
        refs: the studies; loading one that cannot be read raises InputError.
        dicom: the cases that are read from DICOM files.
        files: all files of the input, by identity: those of studies and those that are passed over.
        read: of these, the files that studies are read from.
        passed_over: how many files were left out, by reason.
        kinds: of `OTHER`, how many by ending.
        left_out: DICOM series that are not segmented, by the case of their patient; "" where there is none.
        series: what DICOM series seem to be, by number.
        matched: the words of --series that name one.
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
        """What was passed over and why, on one line; empty where nothing was."""
        parts = []
        for reason, number in self.passed_over.items():
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
            parts.append(f"{number} {reason}{f' ({kinds})' if reason == OTHER else ''}")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A study before it has its id: the name that the id is made from, and how to load it under that id."""

    stem: str
    load: Callable[[str], Study]
    source: str
    is_dicom: bool = False
    left_out: Sequence[LeftOut] = ()


@dataclasses.dataclass(frozen=True)
class _Reading:
    """How files are read; see `find_studies`."""

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
    """The studies that `find_studies` finds, without what was passed over."""
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
    """The unlabelled studies in files and folders, the folders below included.

    Files are NIfTI, NRRD, MetaImage, pairs of .hdr and .img, LVQuan19's .mat, or DICOM of any name. A study is called
    by its file, with the folders below the named one before it, unless the file is called by one of these folders
    already, as in BIDS. Hidden files, label files and other kinds of files in folders are counted, not read. Everything
    else that cannot be read becomes a study whose loading raises.

    Args:
        paths: a file, a folder or a pattern such as `scans/*/cine.nii.gz`, or several of them.
        third_axis: what the third axis of 3D files is.
        classes: the classes that will be predicted.
        slice_axis: reorient volumes as MM-WHS2017's are and slice them along this axis; None: as they are.
        spacing_mm: distances of slices, rows and columns, which replace those in the headers of volumes. Loading a
            study of another kind then raises.
        dicom: how DICOM input is read.

    Raises:
        InputError: `spacing_mm` cannot be used; a path that is named is not there or of another kind, nothing to read
            is in the folders, or there is no series that `dicom` names.
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
    """Where a study came from: its file or folder, relative to the folder that was named."""
    if ref.case not in found.dicom or study.source is None:
        return ref.source
    try:
        inside = os.path.relpath(os.path.realpath(study.source), os.path.realpath(ref.source))
    except ValueError:  # on different drives
        return ref.source
    return ref.source if inside == "." or inside.startswith("..") else inside


def files_of(study: Study) -> list[Path]:
    """The files that a study was read from; none of one made in memory."""
    if isinstance(study.header, DicomSource):
        return [file for row in study.header.files for file in row]
    if study.source is None:
        return []
    return data_files(study.source) if is_other_format(study.source) else [study.source]


def _case(candidate: _Candidate, taken: set[str]) -> str:
    """The id of a study. `…_seg` is what masks are called: a DICOM study's image must not have such a name."""
    stem = candidate.stem
    if candidate.is_dicom and stem.casefold().endswith("_seg"):
        stem += "-study"
    return safe_case(stem, taken)


def _file(path: Path, found: Found, reading: _Reading) -> list[_Candidate]:
    """The studies of a file that the user named."""
    stem, suffix = _split(path.name)
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
    """The studies of a folder that the user named, those of folders below included."""
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
        stem, suffix = _split(file.name)
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
            continue  # It comes with its header.
        else:
            images.append(_Candidate(_stem(parts, stem), _loader(file, suffix, found, reading), source))
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
    """The files in a folder and below, in order, and of each that cannot be read what is wrong with it.

    Hidden files and links to folders are counted, not followed.
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
    """Why a file in a folder cannot be read at all, whatever its format is."""
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
    """A study that cannot be read, so that it is reported as one."""

    def refuse(case: str) -> Study:
        raise problem

    return _Candidate(_stem(parts, _split(parts[-1])[0]), refuse, source)


def _stem(parts: Sequence[str], stem: str) -> str:
    """What a study is called by its path below the named folder.

    `sub-01/anat/sub-01_cine.nii.gz` is `sub-01_cine`, because the file is called by its patient; `p1/cine.nii.gz` is
    `p1_cine`.
    """
    parents = parts[:-1]
    for place, parent in enumerate(parents):
        if stem == parent or (stem.startswith(parent) and stem[len(parent)] in "_-. "):
            return "_".join([*parents[:place], stem])
    return "_".join([*parents, stem])


def _split(name: str) -> tuple[str, str]:
    """The stem and suffix of a file that can be read; the suffix is empty for any other."""
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
    """Whether a .mat file lies beside a pair of .hdr and .img of its name, whose orientation SPM keeps in it."""
    return bool(partners(path.with_suffix(".hdr"), HEADERS))


def _belongs_to_a_header(path: Path) -> bool:
    """Whether a file holds the voxels of a header beside it, or the times of an image beside it."""
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
    """Whether an earlier prediction made a NIfTI file of DICOM images, beside a mask and tables of its own."""
    stem = path.name.removesuffix(".nii.gz")
    if stem == path.name:
        return False
    beside = [path.with_name(name) for name in (f"{stem}_seg.nii.gz", "labels.txt", "labels.ctbl", "predictions.json")]
    if not all(other.exists() for other in beside):
        return False
    return f'"image": {json.dumps(path.name)}' in _beginning(beside[-1])


def _beginning(path: Path, most: int = 2**24) -> str:
    """The first characters of a text, none of a file that is no UTF-8."""
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
    """Checks that each word of --series names a series of one patient at least."""
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
    return study_from_volume(volume, patient=case, case=case, classes=reading.classes)


def _load_mat(path: Path, reading: _Reading, case: str) -> Study:
    _require_own_spacing(str(path), reading)
    study = read_lvquan19(path, case=case, require_labels=False)
    return dataclasses.replace(study, labels=None, classes=reading.classes)


def _require_own_spacing(name: str, reading: _Reading) -> None:
    """Raises InputError where a spacing was given for a study whose file has but one, and that without doubt."""
    if reading.spacing_mm is not None:
        raise InputError(
            "spacing",
            f"{name}: DICOM and .mat files are read with their own spacing; segment this study without --spacing_mm",
        )
