"""Finds the mask files that a user names, and the image of each."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from foanet_jax.data.dicom.files import walk
from foanet_jax.data.formats.pair import HEADERS, IMAGES, partners
from foanet_jax.data.frames import number_of_frame, patient_of_frame
from foanet_jax.data.inputs import LABEL_ENDINGS, LABEL_FOLDERS, SUFFIXES, Found, Paths, split_name, stem_below
from foanet_jax.data.masks.dicomseg import is_dicom_seg
from foanet_jax.data.masks.labels import Names
from foanet_jax.data.masks.reading import MaskFile, describe_labels
from foanet_jax.data.refs import StudyRef, empty_root, existing, safe_case
from foanet_jax.system.errors import InputError

_CHANNEL = re.compile(r"(.+)_0000")
_MOST_NAMED = 8  # in a message


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask: one file, or one for each frame that was drawn."""

    ref: StudyRef
    masks: tuple[MaskFile, ...]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images with masks, and what was left over.

    Attributes:
        pairs: in the order of the images.
        images: the cases that have no mask.
        masks: the files that have no image.
        files: all mask files.
    """

    pairs: tuple[Pair, ...]
    images: tuple[str, ...]
    masks: tuple[Path, ...]
    files: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class _Named:
    """A mask file, the folder that the user named, and the name that its image should have."""

    path: Path
    root: Path
    name: str


def pair_masks(found: Found, paths: Paths, labels: Names | None, *, in_order: bool = False) -> Pairs:
    """Finds the masks in files and folders, and the image of each.

    A mask belongs to the image of the same name. `_seg`, `_gt`, `_mask` and the like at the end of the mask's name, and
    nnU-Net's `_0000` at the end of the image's name, do not count. As with images, the folders below the named folder
    are part of the name; those of an image need not be part of the mask's name if only one image has this name without
    them. A mask `CASE_frameNN` also belongs to the frame NN, from 1, of the image `CASE`. A single mask belongs to a
    single image, whatever the two are called.

    If a folder has files with the names of masks, all its other images are left out.

    Args:
        found: the images.
        paths: files, folders or patterns of masks.
        labels: the classes by label value, if the user gives them.
        in_order: if no names agree, the first mask belongs to the first image, and so on, if there are as many.

    Raises:
        InputError: a path does not exist; there are no masks; no mask has an image; several masks have the same image
            ("ambiguous"); or the names of labels cannot be read.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    every = [path for name in named for path in existing(Path(name))]
    masks = [mask for path in every for mask in _masks(path)]
    masks = list({mask.path.resolve(): mask for mask in masks}.values())
    if not masks:
        raise empty_root(every[0], f"masks ({', '.join('*' + suffix for suffix in SUFFIXES[:2])} and others)")
    refs = {ref.case: ref for ref in found.refs}
    of_mask = _by_name(refs, found, masks)
    if not of_mask and len(masks) == len(refs) and (in_order or len(refs) == 1):
        of_mask = {mask.path: (case, None) for mask, case in zip(masks, refs, strict=True)}
    files: dict[str, list[MaskFile]] = {}
    beside: dict[Path, Names | None] = {}
    for mask in masks:
        if mask.path in of_mask:
            case, frame = of_mask[mask.path]
            class_of, known = describe_labels(mask.path, mask.root, labels, beside)
            files.setdefault(case, []).append(MaskFile(mask.path, frame, class_of, known))
    if not files:
        raise InputError(
            "no-masks",
            f"{every[0]}: none of the {len(masks)} masks has the name of an image: the masks are "
            f"{named_few([mask.name for mask in masks])}, the images {named_few(list(refs))}; give each mask the name "
            "of its image, such as CASE_seg.nii.gz for CASE.nii.gz",
        )
    for case, of_case in files.items():
        frames = [file.frame for file in of_case]
        if len(of_case) > 1 and (None in frames or len(set(frames)) < len(frames)):
            raise InputError(
                "ambiguous",
                f"{case}: has {len(of_case)} masks, {named_few([str(file.path) for file in of_case])}; name one of "
                "them, or a pattern such as 'MASKS/*_gt.nii.gz'",
            )
    pairs = tuple(Pair(refs[case], tuple(files[case])) for case in refs if case in files)
    return Pairs(
        pairs,
        tuple(case for case in refs if case not in files),
        tuple(mask.path for mask in masks if mask.path not in of_mask),
        tuple(mask.path for mask in masks),
    )


def named_few(names: Sequence[str]) -> str:
    """Returns the first names of a list as text."""
    return ", ".join(names[:_MOST_NAMED]) + (f", … ({len(names)} in all)" if len(names) > _MOST_NAMED else "")


def _masks(path: Path) -> Iterator[_Named]:
    """Yields the masks in a file or folder that the user named."""
    if path.is_file():
        if not split_name(path.name)[1] and not is_dicom_seg(path):
            raise InputError(
                "unknown-format",
                f"{path}: masks are NIfTI, NRRD, MetaImage or DICOM segmentations; convert the file, such as to NIfTI",
            )
        yield _Named(path, path.parent, _name(path, path.parent))
        return
    masks: list[_Named] = []
    others: list[_Named] = []
    for file in walk(path):
        stem, suffix = split_name(file.name)
        if _is_copy(file):
            continue
        if suffix in ("", ".mat"):
            if suffix or not is_dicom_seg(file):
                continue
        elif suffix in IMAGES and partners(file, HEADERS):
            continue
        in_labels = any(part.lower() in LABEL_FOLDERS for part in (path.name, *file.relative_to(path).parts[:-1]))
        is_mask = not suffix or in_labels or stem.lower().endswith(LABEL_ENDINGS)
        (masks if is_mask else others).append(_Named(file, path, _name(file, path)))
    yield from masks or others


def _is_copy(path: Path) -> bool:
    """Whether a prediction has written a DICOM segmentation beside the same mask as NIfTI."""
    case = path.parent.name.removesuffix("_dicom_seg")
    return case != path.parent.name and (path.parent.parent / f"{case}_seg.nii.gz").exists()


def _name(path: Path, root: Path) -> str:
    """Returns the name of the image of a mask: that of the mask's file below `root`, without its ending."""
    stem = split_name(path.name)[0] if split_name(path.name)[1] else path.stem
    ending = next((end for end in LABEL_ENDINGS if stem.lower().endswith(end)), "")
    stem = stem[: len(stem) - len(ending)]
    folders = [part for part in path.relative_to(root).parts[:-1] if part.lower() not in LABEL_FOLDERS]
    folders = [part for part in folders if not part.endswith("_dicom_seg")]
    return _plain(stem_below((*folders, stem), stem))


def _plain(name: str) -> str:
    """Returns a name as in the ids of cases, and in lower case."""
    return safe_case(name, set()).casefold()


def _by_name(refs: Mapping[str, StudyRef], found: Found, masks: Sequence[_Named]) -> dict[Path, tuple[str, int | None]]:
    """Returns the case of each mask, and the frame if the name says it."""
    exact: dict[str, list[str]] = {}
    loose: dict[str, list[str]] = {}
    for case, ref in refs.items():
        stems = [case] if case in found.dicom else [case, split_name(Path(ref.source).name)[0]]
        for place, stem in zip((exact, loose), (case, stems[-1]), strict=True):
            channel = _CHANNEL.fullmatch(stem)
            for name in dict.fromkeys([stem, *([channel[1]] if channel else [])]):
                place.setdefault(_plain(name), []).append(case)

    def lookup(name: str) -> str | None:
        for place in (exact, loose):
            if len(place.get(name, ())) == 1:
                return place[name][0]
        return None

    found_of: dict[Path, tuple[str, int | None]] = {}
    for mask in masks:
        patient = patient_of_frame(mask.name)
        if same := lookup(mask.name):
            found_of[mask.path] = (same, None)
        elif patient and (cine := lookup(patient)):
            found_of[mask.path] = (cine, number_of_frame(mask.name) - 1)
    return found_of
