"""The job `measure`: indices, findings, pages and tables of masks, whoever drew them."""

import dataclasses
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.inputs import SUFFIXES, Paths, find_studies
from foanet_jax.data.masks import (
    EXCHANGEABLE,
    MaskFile,
    Pair,
    Pairs,
    classes_of,
    named_few,
    pair_masks,
    parse_labels,
    read_mask,
)
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.patients.table import read_patients, with_bodies
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.image.boxes import whole_image
from foanet_jax.jobs.studies import training_set
from foanet_jax.jobs.studies.comparison import Comparison
from foanet_jax.jobs.studies.comparison import outputs_of as outputs_of_comparison
from foanet_jax.jobs.studies.writing import (
    MEASUREMENTS,
    Entry,
    Progress,
    Writing,
    outputs_of,
    require_free,
    review_and_write,
    write_all,
)
from foanet_jax.measures.body.surface import FORMULAS, Formula
from foanet_jax.measures.indices.counting import ALL, Counting
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.review import Expectations, Review, review_study
from foanet_jax.measures.quality.shape import exchanged_classes
from foanet_jax.pipeline import EMPTY, Prediction
from foanet_jax.system.diskspace import require_writable
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import identities

LOGGER = logging.getLogger(__name__)


def measure(
    source: Paths,
    masks: Paths,
    output: Path,
    *,
    reference: Paths | None = None,
    labels: Sequence[str] = (),
    third_axis: ThirdAxis = "slice",
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
    overwrite: bool = False,
    pages: bool = True,
    for_training: bool = False,
    command: Sequence[str] = (),
    patients: Path | None = None,
    formula: Formula = FORMULAS[0],
    convention: str = "",
    counting: Counting | None = None,
) -> int:
    """Measures the masks of studies, whoever drew them; returns the number of studies and masks that failed.

    Leaves in `output` what a prediction leaves (`CASE_seg.nii.gz`, `CASE.png`, `CASE.html`, tables, …), with
    `measurements.json` in place of `predictions.json`. There is no confidence and no expected Dice, because no network
    has seen the images. With `for_training`, the folder `training` in it is a data set of the images and masks. With
    `reference`, the folders `evaluation` and `report` in it compare the masks with those of the reference, as an
    evaluation compares predictions with the truth; see `Comparison`.

    Args:
        source: files, folders or patterns of images; see `find_studies`.
        masks: files, folders or patterns of their masks; see `pair_masks`.
        output: folder for what is written.
        reference: files, folders or patterns of a second set of masks of the same images.
        labels: NAME:VALUE for each label value; by default, the names in the mask's file or beside it.
        third_axis: the meaning of the third axis of 3D files.
        spacing_mm: distances of slices, rows and columns, which replace those in the headers.
        dicom: how images in DICOM are read.
        overwrite: replace existing results. No image and no mask that is read is ever replaced.
        pages: write a page of each study.
        for_training: also write the images and masks as a data set to train on.
        command: the user's command line, for the record of a comparison.
        patients: table of height, weight, sex, age and heart rate by study; see `read_patients`.
        formula: of the body surface area.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
            Reference values are shown only for masks of their convention.
        counting: which slices of short-axis hearts count, and which frames are measured; by default, all slices do,
            because someone decided what to draw. What does not count is not in the mask that is written.

    Raises:
        InputError: there are no images, or no masks of them; a table of patients does not fit; the labels cannot be
            used; results that are there already, without `overwrite`; or an output that is a file of the input.
    """
    if output.name.lower().endswith(SUFFIXES) and not output.is_dir():
        raise InputError("output-path", f"{output}: measurements are several files; name a folder")
    require_writable(output, "--output")
    given = parse_labels(labels)
    found = find_studies(source, third_axis=third_axis, spacing_mm=spacing_mm, dicom=dicom)
    if patients is not None:
        found.refs = with_bodies(found.refs, read_patients(patients), patients)
        found.read |= identities([patients])  # It is not replaced either.
    pairs = pair_masks(found, masks, given, in_order=_all_files(source) and _all_files(masks))
    classes = classes_of(file.class_of for pair in pairs.pairs for file in pair.masks)
    _tell_left_over(pairs)
    truths = None if reference is None else pair_masks(found, reference, given)
    comparison = None
    if truths is not None:
        comparison = Comparison(classes, truths, [pair.ref.case for pair in pairs.pairs])
    drawn: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    options = {"third_axis": third_axis, "spacing_mm": spacing_mm}
    refs = [_with_masks(pair, classes, comparison, drawn, options) for pair in pairs.pairs]
    chosen = dataclasses.replace(found, refs=refs)
    outputs = outputs_of(output, chosen, MEASUREMENTS, pages=pages)
    folder = output / training_set.FOLDER
    if for_training:
        training_set.require_absent(folder)
    if comparison is not None:
        outputs += outputs_of_comparison(output)
    protected = [*pairs.files, *(truths.files if truths is not None else ())]
    require_free(outputs, output, found, protected, overwrite=overwrite)
    frames = {pair.ref.case: _frames_of(pair.masks) for pair in pairs.pairs}
    paths = {pair.ref.case: [str(file.path) for file in pair.masks] for pair in pairs.pairs}
    named = all(file.named for pair in pairs.pairs for file in pair.masks)
    review = functools.partial(_review, formula=formula, convention=convention)
    writing = Writing(
        output,
        chosen,
        MEASUREMENTS,
        review,
        _provenance(named=named),
        counting or Counting(ALL),
        pages=pages,
    )

    def work(ref: StudyRef, study: Study, entry: Entry, within: Progress) -> Prediction:
        entry["masks"] = paths[ref.case]
        return as_prediction(drawn[ref.case][0])

    def write(ref: StudyRef, study: Study, mask: Prediction, entry: Entry, writing: Writing) -> None:
        _, truth = drawn.pop(ref.case)
        review_and_write(ref, study, mask, entry, writing)
        if "error" in entry:
            return
        if for_training:
            training_set.add(study, mask.mask, folder, entry)
        if comparison is not None and truth is not None:
            comparison.add(study, mask, truth, frames[ref.case])

    failures = write_all(refs, work, writing, classes=classes, doing="measuring", done="measured", write=write)
    if for_training and writing.reviews:
        training_set.describe(classes, folder)
    if comparison is not None:
        comparison.write(output, _named(masks), _named(reference or ()), command)
    return failures + len(pairs.masks)


def measure_one(
    image: Path,
    masks: Paths,
    *,
    labels: Sequence[str] = (),
    third_axis: ThirdAxis = "slice",
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
) -> tuple[Study, np.ndarray, Review]:
    """Measures the mask of one study, and writes nothing.

    Args:
        image: the file of the image, or a folder that holds one study.
        masks: the file of its mask, or files of its frames.
        labels, third_axis, spacing_mm, dicom: as for `measure`.

    Returns:
        The study; its mask, (T, Z, H, W) uint8 class indices; and its review with the indices and findings.

    Raises:
        InputError: as for `measure`; or "several-studies" if the image is not exactly one study.
    """
    found = find_studies(image, third_axis=third_axis, spacing_mm=spacing_mm, dicom=dicom)
    if len(found.refs) != 1:
        raise InputError(
            "several-studies", f"{image}: has {len(found.refs)} studies; pass one, name a series, or use --mode measure"
        )
    pairs = pair_masks(found, masks, parse_labels(labels))
    if pairs.masks:
        raise InputError("no-masks", f"{pairs.masks[0]}: does not have the name of the image {image}; rename it")
    (pair,) = pairs.pairs
    classes = classes_of(file.class_of for file in pair.masks)
    study = dataclasses.replace(pair.ref.load(), classes=classes)
    mask = read_mask(pair.masks, study, classes, third_axis=third_axis, spacing_mm=spacing_mm)
    return study, mask, _review(study, as_prediction(mask))


def as_prediction(mask: np.ndarray) -> Prediction:
    """Returns a mask in the form of a prediction, without boxes and without confidence.

    Args:
        mask: (T, Z, H, W) uint8 class indices.
    """
    frames, slices, *shape = mask.shape
    flags = () if mask.any() else (EMPTY,)
    return Prediction(mask, [None] * (frames * slices), None, whole_image((shape[0], shape[1])), flags)


def _with_masks(
    pair: Pair,
    classes: tuple[str, ...],
    comparison: Comparison | None,
    drawn: dict[str, tuple[np.ndarray, np.ndarray | None]],
    options: Mapping[str, Any],
) -> StudyRef:
    """Returns the reference to a study that also reads its mask and that of the reference into `drawn`."""
    case = pair.ref.case

    def load() -> Study:
        study = dataclasses.replace(pair.ref.load(), classes=classes)
        mask, truth = read_mask(pair.masks, study, classes, **options), None
        if comparison is not None and case in comparison.masks:
            truth = read_mask(comparison.masks[case], study, comparison.classes, **options)
            # The picture of the study shows its contours too.
            study = dataclasses.replace(study, labels=comparison.in_classes(truth, classes))
        drawn[case] = mask, truth
        remark = _frames_not_drawn(mask)
        return dataclasses.replace(study, remarks=(*study.remarks, remark)) if remark else study

    return dataclasses.replace(pair.ref, load=load)


def _frames_of(files: Sequence[MaskFile]) -> list[int] | None:
    """Returns the frames for which there are files; None if a file has all of them."""
    frames = [file.frame for file in files if file.frame is not None]
    return frames if len(frames) == len(files) else None


def _frames_not_drawn(mask: np.ndarray) -> str:
    there = mask.any(axis=(1, 2, 3))
    if there.all() or not there.any():
        return ""
    return "some frames have no mask: they are left out of volumes and curves"


def _review(study: Study, prediction: Prediction, **reading: Any) -> Review:
    """Reviews a mask. A structure or a frame that nobody has drawn is not an error of the mask: it is not known."""
    review = review_study(study, prediction, Expectations(), **reading)
    mask, classes = prediction.mask, study.classes
    findings: list[Finding] = []
    empty = set(np.flatnonzero(~mask.any(axis=(1, 2, 3))).tolist())
    absent = [name for index, name in enumerate(classes) if index and not (mask == index).any()]
    if mask.any():
        pair = exchanged_classes(mask, classes)
        if pair is not None:
            findings.append(Finding("exchanged-classes", _exchanged(*pair)))
        findings += [Finding("not-drawn", f"the {name} is not drawn in this study", class_name=name) for name in absent]
    for finding in review.findings:
        of_empty_frame = finding.code == "class-vanishes" and finding.slice_ is None and finding.frame in empty
        if finding.code != "class-absent" and not of_empty_frame:
            findings.append(finding)
    return dataclasses.replace(review, findings=tuple(findings))


def _exchanged(inner: str, outer: str) -> str:
    hint = f" ({EXCHANGEABLE}: --labels=cavity:1,myocardium:2,rv:3)" if inner == "right ventricle" else ""
    return (
        f"what is labelled {inner} lies inside what is labelled {outer}, as a cavity inside the myocardium: the label "
        f"values seem to have another order; give it with --labels=NAME:VALUE,…{hint}"
    )


def _provenance(*, named: bool) -> dict[str, Any]:
    return {
        "masks": "measured as they were drawn; no network was used",
        "meaning of the label values": "named by the masks or the user" if named else "assumed: those of this project",
    }


def _tell_left_over(pairs: Pairs) -> None:
    if pairs.images:
        LOGGER.warning("%d images have no mask and are left out: %s", len(pairs.images), named_few(pairs.images))
    for path in pairs.masks:
        LOGGER.error("error: no-image: %s: no image has this name; rename the mask or pass its image too", path)
    if any(not file.named for pair in pairs.pairs for file in pair.masks):
        LOGGER.warning(
            "no names of the labels were found: 1 is read as the right ventricle, 2 as myocardium, 3 as the cavity; "
            "--labels=NAME:VALUE,… gives other ones"
        )


def _named(paths: Paths) -> list[str]:
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    return [str(path) for path in named]


def _all_files(paths: Paths) -> bool:
    return all(Path(path).is_file() for path in _named(paths))
