"""Lists the studies in DICOM files with their ids, and those that cannot be read."""

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
        refs: the studies. Loading a study that cannot be read raises InputError.
        failing: the errors of the files, by file, of each case that cannot be read.
        left_out: the series that are not segmented, by the first case of their patient; "" if the patient has no case.
        series: what each series seems to show, by number.
        matched: the words of --series that name a series.
        files: all DICOM files that were examined.
    """

    refs: list[StudyRef] = dataclasses.field(default_factory=list)
    failing: dict[str, Problems] = dataclasses.field(default_factory=dict)
    left_out: dict[str, list[LeftOut]] = dataclasses.field(default_factory=dict)
    series: dict[str, str] = dataclasses.field(default_factory=dict)
    matched: set[str] = dataclasses.field(default_factory=set)
    files: list[Path] = dataclasses.field(default_factory=list)


def list_dicom(path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES) -> list[StudyRef]:
    """Returns the studies of all series that `find_dicom` finds.

    Raises:
        InputError: the errors of `find_dicom`; or, if no study can be read, one error that lists all of theirs.
    """
    found = find_dicom(path, classes=classes, wanted=Wanted((ALL,)))
    if len(found.failing) == len(found.refs):
        problems = {file: error for refused in found.failing.values() for file, error in refused.items()}
        raise together(problems, len(found.files))
    return found.refs


def find_dicom(
    path: str | os.PathLike[str], *, classes: tuple[str, ...] = LV_CLASSES, wanted: Wanted = DEFAULT
) -> Listing:
    """Finds the short-axis cines in a DICOM file, in a folder and below it, or in a DICOMDIR, as unlabelled studies.

    The images of a series with the same size, pixel spacing, orientation and image type make a stack. It is a cine if
    there are several images at each position. Series of one slice each, of the same examination and frame of reference,
    are joined to one stack if sizes, spacing, orientation and numbers of frames agree and the slices are evenly spaced.
    If they are not, the reason is logged, and each series is a study. If a patient has short-axis cines, all other
    stacks are left out; see `views`. Files that are not DICOM are ignored. Objects that are not MR images are ignored
    with a message in the log. Cases are named after the folders of their files. No tag that could name a patient is
    used in ids, messages or logs.

    A study that cannot be read does not affect the others: only loading it raises an error. A file whose header cannot
    be used belongs to the stack of its series, which cannot be read without it. If its series is unknown too, it may
    belong to any stack of its folder. Then those stacks of the folder cannot be read that are incomplete, or whose
    number of frames is not larger than the number of such files, because a whole slice may be missing. With
    `wanted.incomplete`, only the file fails, and stacks are read without it.

    Args:
        path: the file, the folder or the DICOMDIR.
        classes: the classes that will be predicted.
        wanted: which series are read, and how.

    Raises:
        InputError: the path does not exist, or it has no MR images in DICOM.
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
    """Returns the stacks to segment, in their order, and the series of each patient that are left out.

    What the stacks seem to show is added to `found`.
    """
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
    """Returns the DICOM files in a folder, the files that a DICOMDIR lists, or the file itself.

    The second result is the series of each file that a DICOMDIR lists.
    """
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
            LOGGER.warning("passed over %s", error)  # The files that it lists are found in the folder anyway.
    if not path.is_dir() and listed:
        images = [file for file in listed if is_dicom(file)]
    return images, listed


def _missing(listed: Mapping[Path, str], present: set[str]) -> dict[Path, InputError]:
    """Returns the errors of missing files that a DICOMDIR lists, except those of series that are completely absent."""
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
    """Returns the error of each folder that has files of several patients."""
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
    """Returns the unusable files of each stack that must not be read without them, by the stack's index in `stacks`."""
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
    """Returns the number of frames of a stack without gaps; 0 if slices or frames are missing.

    If a file is missing from a stack without gaps, a whole slice must be missing at one end.
    """
    try:
        return len(assemble(stack).grid)
    except InputError:
        return 0


def _series_of(path: Path) -> str:
    """Returns the UID of the series of a file that cannot be used; "" if the UID cannot be read either."""
    try:
        with quiet_pydicom():
            meta = read_meta(path)
            syntax = guarded(path, lambda: UID(str(meta.get("TransferSyntaxUID") or "")))
            tags = read_header(path, syntax, [Tag("SeriesInstanceUID")])
            return str(guarded(path, lambda: tags.get("SeriesInstanceUID")) or "")
    except InputError:
        return ""


def _alone(unusable: Problems, explained: set[Path], series: Mapping[Path, str]) -> list[Problems]:
    """Returns the unusable files that stop no stack, grouped by series, or by folder if the series is unknown."""
    together_: dict[object, dict[Path, InputError]] = {}
    for file, error in unusable.items():
        if file not in explained:
            together_.setdefault(series[file] or file.parent, {})[file] = error
    return list(together_.values())


def _folder_of(files: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Returns the folders from the root to the innermost folder that contains all these files."""
    common = Path(os.path.commonpath([file.resolve().parent for file in files]))
    return common.relative_to(root).parts if common.is_relative_to(root) else ()


def _patients(images: Sequence[DicomImage], root: Path | None) -> dict[tuple[str, str], str]:
    """Returns the id of each patient, made from the innermost folder that contains all the patient's files."""
    taken: set[str] = set()
    names = {}
    for key in dict.fromkeys(image.patient_key for image in images):
        files = [image.path for image in images if image.patient_key == key]
        stem = files[0].stem if root is None else "_".join(_folder_of(files, root)) or root.name
        names[key] = safe_case(stem, taken)
    return names


class _Names:
    """Makes the ids of the studies below a root.

    An id is made from the folders of the study's own files, so that other studies do not change it. The number of the
    series is added only if several stacks have their files in one folder.
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
        """Returns the id for files that cannot be read: their folder, and the first name if it has readable images."""
        stem = self._stem(files)
        if files[0].parent in {image.path.parent for image in images}:
            stem = f"{stem}_{files[0].stem}"
        return safe_case(stem, self._taken)

    def _stem(self, files: Sequence[Path]) -> str:
        return files[0].stem if self._root is None else "_".join(_folder_of(files, self._root)) or self._root.name
