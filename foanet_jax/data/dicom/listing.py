"""Which studies there are in DICOM files, what they are called, and which cannot be read."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from pydicom.tag import Tag
from pydicom.uid import UID

from foanet_jax.data.dicom.directory import is_directory_file, listed_images
from foanet_jax.data.dicom.files import guarded, is_dicom, quiet_pydicom, read_header, read_meta, walk
from foanet_jax.data.dicom.headers import DicomImage, counted, frames_by_file, read_headers, together
from foanet_jax.data.dicom.reader import read_dicom_series
from foanet_jax.data.dicom.stacks.assembly import assemble
from foanet_jax.data.dicom.stacks.grouping import group_stacks
from foanet_jax.data.dicom.stacks.selection import LeftOut, select
from foanet_jax.data.dicom.stacks.views import SHORT_AXIS, by_patient
from foanet_jax.data.dicom.wanted import ALL, DEFAULT, Wanted
from foanet_jax.data.refs import StudyRef, empty_root, safe_case
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
Problems = Mapping[Path, InputError]


@dataclasses.dataclass(frozen=True)
class Listing:
    """The studies in DICOM files.

    Attributes:
        refs: the studies; loading one that cannot be read raises InputError.
        failing: of those that cannot be read, by case, what is wrong with which file.
        left_out: the series that are not segmented, by the first case of their patient; "" where there is none.
        series: what each series seems to be, by number.
        matched: the words of --series that name a series.
        files: all DICOM files that were looked at.
    """

    refs: list[StudyRef] = dataclasses.field(default_factory=list)
    failing: dict[str, Problems] = dataclasses.field(default_factory=dict)
    left_out: dict[str, list[LeftOut]] = dataclasses.field(default_factory=dict)
    series: dict[str, str] = dataclasses.field(default_factory=dict)
    matched: set[str] = dataclasses.field(default_factory=set)
    files: list[Path] = dataclasses.field(default_factory=list)


def list_dicom(path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES) -> list[StudyRef]:
    """All studies of find_dicom, none left out, once one of them can be read.

    Raises:
        InputError: as find_dicom; or, where no study can be read, everything that is wrong with them.
    """
    found = find_dicom(path, classes=classes, wanted=Wanted((ALL,)))
    if len(found.failing) == len(found.refs):
        problems = {file: error for refused in found.failing.values() for file, error in refused.items()}
        raise together(problems, len(found.files))
    return found.refs


def find_dicom(
    path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES, wanted: Wanted = DEFAULT
) -> Listing:
    """The unlabelled studies in a DICOM file, in a folder and below it, or in a DICOMDIR: the short-axis cines.

    The images of a series that share size, pixel spacing, orientation and image type are a stack, a cine where
    there are several at each position. Series of one slice each, of the same examination and frame of reference,
    are joined to one stack where sizes, spacing, orientation and numbers of frames agree and the slices are evenly
    spaced; where they are not, the reason is logged and each is a study. Of a patient with short-axis cines, all other
    stacks are left out; see `views`. Files that are no DICOM are passed over, and so are objects that are no
    MR images, which is logged. Cases are called by the folders of their files: no tag that could name a
    patient gets into ids, messages or logs.

    What cannot be read fails alone, as a study whose loading raises. A file whose header cannot be used belongs to
    the stack of its series. Where not even the series can be read, it may belong to any stack of its folder that it
    could be missing from: to one that is not complete, or that has no more frames than there are such files. With
    `wanted.incomplete`, only the file fails, and stacks are read without it.

    Args:
        path: the file, the folder or the DICOMDIR.
        classes: of the labels that will be predicted.
        wanted: which series, and how they are read.

    Raises:
        InputError: nothing is there, or nothing of this kind.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("missing-file", f"{path}: no such file or folder; check the path")
    candidates, listed_series = _candidates(path)
    if not candidates:
        raise empty_root(path, "DICOM files (of any name)")
    alone = candidates == [path]
    root = None if alone else (path if path.is_dir() else path.parent).resolve()
    unusable: dict[Path, InputError] = {}
    images, notes = read_headers(candidates, unusable=unusable)
    unusable |= _missing(listed_series, {image.series for image in images})
    series_of = {file: listed_series.get(file) or _series_of(file) for file in unusable}
    if not images and not unusable:
        listed = "\n".join(f"- {note}" for note in counted(notes))
        raise InputError("no-images", f"{path}: DICOM, but no MR images that can be read:\n{listed}")
    for note in counted(notes):
        LOGGER.warning("passed over %s", note)

    mixed = _mixed_folders(images)
    every = [stack for stack in group_stacks(images) if not any(image.path.parent in mixed for image in stack)]
    found = Listing(files=candidates)
    stacks, left_out = _selected(every, wanted.series, found)
    refused = _refused_stacks(stacks, unusable, series_of)
    names = _Names(root, stacks)
    patients = _patients(images, root)
    first_of: dict[tuple[str, str], str] = {}
    for number, stack in enumerate(stacks):
        patient, case = patients[stack[0].patient_key], names.of_stack(stack)
        files = tuple(dict.fromkeys(image.path for image in stack))
        load: Callable[[], Study] = functools.partial(
            read_dicom_series,
            files,
            patient=patient,
            case=case,
            classes=classes,
            frames_of=frames_by_file(stack),
            wanted=wanted,
            lacking=len(refused.get(number, ())),
        )
        if number in refused and not wanted.incomplete:
            found.failing[case] = refused[number]
            load = functools.partial(_refuse, refused[number])
        found.refs.append(StudyRef(patient, case, None, load))
        first_of.setdefault(stack[0].patient_key, case)
    for key, others in left_out.items():
        found.left_out.setdefault(first_of.get(key, ""), []).extend(others)
    explained = set() if wanted.incomplete else {file for problems in refused.values() for file in problems}
    for problems in [*_alone(unusable, explained, series_of), *mixed.values()]:
        case = names.of_failure(list(problems), images)
        found.failing[case] = problems
        found.refs.append(StudyRef(case, case, None, functools.partial(_refuse, problems)))
    return found


def _selected(
    stacks: Sequence[list[DicomImage]], series: Collection[str], found: Listing
) -> tuple[list[list[DicomImage]], dict[tuple[str, str], list[LeftOut]]]:
    """The stacks to segment, in their order, and what is left out of each patient; what they seem to be is logged."""
    chosen: set[int] = set()
    left_out = {}
    for key, numbers in by_patient(stacks).items():
        selection = select([stacks[number] for number in numbers], series)
        chosen |= {numbers[place] for place in selection.chosen}
        left_out[key] = selection.left_out
        found.matched.update(selection.matched)
        for place, what in enumerate(selection.seems):
            found.series.setdefault(str(stacks[numbers[place]][0].series_number), what)
        for other in selection.left_out:
            LOGGER.info("left out: %s", other)
        if not series and len(numbers) > 1 and SHORT_AXIS not in selection.seems:
            folder = stacks[numbers[0]][0].path.parent
            LOGGER.warning(
                "%s: no short-axis cine among the %d stacks of this patient; all of them are segmented",
                folder,
                len(numbers),
            )
    return [stack for number, stack in enumerate(stacks) if number in chosen], left_out


def _candidates(path: Path) -> tuple[list[Path], dict[Path, str]]:
    """The DICOM files in a folder, those that a DICOMDIR names, or the file itself; and the series of listed files."""
    files = [file for file in walk(path) if is_dicom(file)] if path.is_dir() else [path]
    listed: dict[Path, str] = {}
    images = []
    for file in files:
        if not is_directory_file(file):
            images.append(file)
            continue
        try:
            listed |= listed_images(file)
        except InputError as error:
            if not path.is_dir():
                raise
            LOGGER.warning("passed over %s", error)  # Its files are in the folder all the same.
    if not path.is_dir() and listed:
        images = [file for file in listed if is_dicom(file)]
    return images, listed


def _missing(listed: Mapping[Path, str], present: set[str]) -> dict[Path, InputError]:
    """What is wrong with files that a DICOMDIR names and that are not there, of series of which others are there."""
    lost = [file for file in listed if not file.exists()]
    elsewhere = [file for file in lost if listed[file] and listed[file] not in present]
    if elsewhere:
        LOGGER.warning(
            "%s: the DICOMDIR names %d images of series that are not here at all", elsewhere[0].parent, len(elsewhere)
        )
    text = "the DICOMDIR names this file, but it is not there; copy it again"
    return {file: InputError("missing-file", f"{file}: {text}") for file in lost if file not in elsewhere}


def _refuse(problems: Problems) -> Study:
    raise together(problems, len(problems))


def _mixed_folders(images: Iterable[DicomImage]) -> dict[Path, Problems]:
    """What is wrong with each folder that has files of several patients."""
    first_of: dict[Path, DicomImage] = {}
    mixed: dict[Path, Problems] = {}
    for image in images:
        folder = image.path.parent
        first = first_of.setdefault(folder, image)
        if image.patient_key != first.patient_key and folder not in mixed:
            text = f"{image.path}: of another patient than {first.path}; put each patient's files into their own folder"
            mixed[folder] = {image.path: InputError("mixed-patients", text)}
    return mixed


def _refused_stacks(
    stacks: Sequence[Sequence[DicomImage]], unusable: Problems, series: Mapping[Path, str]
) -> dict[int, Problems]:
    """By place in `stacks`, the files without which a stack must not be read."""
    refused: dict[int, Problems] = {}
    for number, stack in enumerate(stacks):
        own, folders = {image.series for image in stack}, {image.path.parent for image in stack}
        problems = {file: error for file, error in unusable.items() if series[file] in own}
        lost = {file: error for file, error in unusable.items() if not series[file] and file.parent in folders}
        if lost and _frames_of_whole(stack) <= len(lost):
            problems |= lost
        if problems:
            refused[number] = problems
    return refused


def _frames_of_whole(stack: Sequence[DicomImage]) -> int:
    """The frames of a stack in which each slice has as many; 0 of one that is not even.

    A file that is missing from such a stack can only be one of a whole slice that is missing at an end.
    """
    try:
        return len(assemble(stack).grid)
    except InputError:
        return 0


def _series_of(path: Path) -> str:
    """UID of the series of a file that cannot be used otherwise; "" where that cannot be told either."""
    try:
        with quiet_pydicom():
            meta = read_meta(path)
            syntax = guarded(path, lambda: UID(str(meta.get("TransferSyntaxUID") or "")))
            tags = read_header(path, syntax, [Tag("SeriesInstanceUID")])
            return str(guarded(path, lambda: tags.get("SeriesInstanceUID")) or "")
    except InputError:
        return ""


def _alone(unusable: Problems, explained: set[Path], series: Mapping[Path, str]) -> list[Problems]:
    """The files that no stack is refused for, those of a series or else of a folder together."""
    together_: dict[object, dict[Path, InputError]] = {}
    for file, error in unusable.items():
        if file not in explained:
            together_.setdefault(series[file] or file.parent, {})[file] = error
    return list(together_.values())


def _folder_of(files: Iterable[Path], root: Path) -> tuple[str, ...]:
    """The folders from the root to the innermost one with all these files."""
    common = Path(os.path.commonpath([file.resolve().parent for file in files]))
    return common.relative_to(root).parts if common.is_relative_to(root) else ()


def _patients(images: Sequence[DicomImage], root: Path | None) -> dict[tuple[str, str], str]:
    """What each patient is called: by the innermost folder with all the files."""
    taken: set[str] = set()
    names = {}
    for key in dict.fromkeys(image.patient_key for image in images):
        files = [image.path for image in images if image.patient_key == key]
        stem = files[0].stem if root is None else "_".join(_folder_of(files, root)) or root.name
        names[key] = safe_case(stem, taken)
    return names


class _Names:
    """Ids of the studies below a root, made from the folders of their own files, so that others do not change them.

    Only where several stacks have their files in one folder does the number of the series tell them apart.
    """

    def __init__(self, root: Path | None, stacks: Sequence[Sequence[DicomImage]]) -> None:
        self._root = root
        self._taken: set[str] = set()
        self._stems = [self._stem([image.path for image in stack]) for stack in stacks]

    def of_stack(self, stack: Sequence[DicomImage]) -> str:
        stem = self._stem([image.path for image in stack])
        if self._stems.count(stem) > 1 and stack[0].series_number is not None:
            stem = f"{stem}_series{stack[0].series_number}"
        return safe_case(stem, self._taken)

    def of_failure(self, files: Sequence[Path], images: Iterable[DicomImage]) -> str:
        """Of files that cannot be read: their folder, and the first one's name where others there can be."""
        stem = self._stem(files)
        if files[0].parent in {image.path.parent for image in images}:
            stem = f"{stem}_{files[0].stem}"
        return safe_case(stem, self._taken)

    def _stem(self, files: Sequence[Path]) -> str:
        return files[0].stem if self._root is None else "_".join(_folder_of(files, self._root)) or self._root.name
