"""Prediction on files and folders: masks, pictures, indices and a report."""

import dataclasses
import glob
import importlib.util
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from foanet_jax.data.dicom import write_mask_dicom_seg
from foanet_jax.data.dicom.stacks.selection import LeftOut
from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.inputs import SUFFIXES, Found, Paths, find_studies, source_of
from foanet_jax.data.nifti.write import write_image, write_mask
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, joined_remarks
from foanet_jax.jobs.experiment.evaluating import draw_prediction
from foanet_jax.jobs.experiment.model import (
    Runs,
    describe_run,
    describe_source,
    find_runs,
    load_description,
    load_model,
)
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.pages import index_entry, study_result
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.jobs.experiment.reviewing import expectations, tell
from foanet_jax.measures.indices.tables import write_lv_indices, write_volumes
from foanet_jax.measures.quality.finding import VERDICTS
from foanet_jax.measures.quality.review import Expectations, Review, describe, review_study
from foanet_jax.measures.quality.summary import joined_patients, write_summary
from foanet_jax.pages import label_files
from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.pages.study_page import IndexEntry, write_index_page, write_study_page
from foanet_jax.pipeline import Prediction, predict_study
from foanet_jax.system.diskspace import require_writable
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import files_below, identities, identity, require_no_input
from foanet_jax.system.progress import messages_above, progress

LOGGER = logging.getLogger(__name__)
Entry = dict[str, Any]
INDEX, REPORT, SUMMARY = "index.html", "predictions.json", "summary.csv"
_MASK_SUFFIXES = (".nii", ".nii.gz")
_LARGEST_REPORT = 2**28  # bytes


@dataclasses.dataclass(frozen=True)
class _Writing:
    """The settings for writing studies, and what is collected for the tables of all studies.

    Attributes:
        output: the folder, or the file of a single mask.
        found: the input.
        expected: the expectations of the run, for the quality control.
        provenance: what made the masks, by name.
        dicom_seg, pages: see `predict`.
        reviews: the reviews of the written studies, by case.
        sources: the files or folders of these studies, by case.
        listed: their rows in the index of pages, by case.
    """

    output: Path
    found: Found
    expected: Expectations
    provenance: Mapping[str, Any]
    dicom_seg: bool
    pages: bool
    reviews: dict[str, Review] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    listed: dict[str, IndexEntry] = dataclasses.field(default_factory=dict)


def predict(
    checkpoint: Runs,
    source: Paths,
    output: Path,
    *,
    third_axis: str,
    overwrite: bool,
    dicom_seg: bool = False,
    memory_mb: int | None = None,
    pages: bool = True,
    tta: str | None = None,
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
) -> int:
    """Segments the studies in files and folders; returns the number of studies that could not be segmented.

    Leaves in `output` for each study: `CASE_seg.nii.gz`, the mask on the input's grid; `CASE.png`; of short-axis hearts
    `CASE_indices.csv`; of stacks `CASE_volumes.csv`; of DICOM input `CASE.nii.gz`, the image that the mask lies on, and
    with `dicom_seg` the folder `CASE_dicom_seg` with DICOM segmentations; with `pages` `CASE.html`, a page with
    everything about the study. For all of them: `predictions.json` with boxes, flags, indices and verdicts;
    `summary.csv`, a row for each study; `labels.txt` and `labels.ctbl`, the classes' names and colours for ITK-SNAP and
    3D Slicer; with `pages` `index.html`.

    A study that cannot be read or written is reported; the other studies are segmented. While a study is segmented, the
    next one is read and the previous one is written, so three studies are in memory.

    No file of the input is replaced, whatever the options are. Another file in the input folder is replaced only with
    `overwrite`, and only if the `predictions.json` there lists it as written by an earlier prediction.

    Args:
        checkpoint: a weights file, the workdir of a training, or several that predict together; see `find_runs`.
        source: files, folders or patterns; see `find_studies`.
        output: folder for what is written; or, for one study, the mask's file (.nii, .nii.gz), and then nothing else
            is written.
        third_axis: "slice" or "time", the meaning of the third axis of 3D files.
        overwrite: replace existing results.
        dicom_seg: write the masks of DICOM input as DICOM segmentations as well.
        memory_mb: MiB for a forward pass; by default what the (first) training's configuration says.
        pages: write a page of each study.
        tta: test-time augmentation, "none", "flips" or "turns"; by default what that configuration says.
        spacing_mm: distances of slices, rows and columns, which replace those in the headers; see `find_studies`.
        dicom: how DICOM input is read.

    Raises:
        InputError: no checkpoint or no input; results that are there already, without `overwrite`; an output that is a
            file of the input; one mask's file for several studies; with `dicom_seg`, highdicom is not installed or no
            input is DICOM.
    """
    alone = _is_mask_file(output)
    if dicom_seg:
        _require_dicom_seg(output, alone=alone)
    require_writable(output.absolute().parent if alone else output, "--output")
    runs = find_runs(checkpoint)
    description = load_description(runs[0])
    facts, expected = describe_run(description), expectations(runs, description)
    budget = facts.memory_bytes if memory_mb is None else memory_bytes({"prediction": {"memory_mb": memory_mb}})
    turned = tta or facts.tta
    found = find_studies(
        source,
        third_axis=third_axis,  # type: ignore[arg-type]
        classes=tuple(description["classes"]),
        slice_axis=facts.slice_axis,
        spacing_mm=spacing_mm,
        dicom=dicom,
    )
    refs = found.refs
    if dicom_seg and not found.dicom:
        raise InputError("not-dicom", f"{source}: not DICOM, so --dicom_seg has no images to refer to; leave it out")
    if alone and len(refs) > 1:
        raise InputError(
            "output-path", f"{output}: the file of one mask, but there are {len(refs)} studies; name a folder"
        )
    outputs = [output] if alone else _outputs(output, found, pages=pages)
    _require_free(outputs, output.parent if alone else output, found, runs, overwrite=overwrite)
    model = load_model(runs)  # It takes seconds: first comes all that can be wrong with the files.
    report: dict[str, Entry] = {}
    provenance = {
        "checkpoint": ", ".join(map(describe_source, runs)),
        "test-time augmentation": turned,
        "JAX": jax.__version__,
    }
    writing = _Writing(output, found, expected, provenance, dicom_seg=dicom_seg, pages=pages)
    write = _write_mask_alone if alone else _review_and_write
    try:
        with (
            messages_above(),
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
            progress(total=len(refs), desc="predicting", unit="study") as bar,
        ):
            written: Future[None] | None = None

            def within(what: str, done: int, total: int) -> None:
                bar.set_postfix_str(f"{what} {done} of {total} slices")

            for ref, loading in _read_ahead(refs, reader):
                entry = report[ref.case] = {"source": ref.source}
                if ref.case in found.left_out:
                    entry["left_out"] = [_left_out(other) for other in found.left_out[ref.case]]
                try:
                    study = loading.result()
                    prediction = predict_study(study, model, memory_bytes=budget, tta=turned, progress=within)
                except InputError as error:
                    _note(error, error.code, entry)
                else:
                    if written is not None:
                        written.result()
                    written = writer.submit(write, ref, study, prediction, entry, writing)
                bar.update()
            if written is not None:
                written.result()
    finally:
        # Whatever ended the rest, what was done is written down.
        report = {case: entry for case, entry in report.items() if "voxels" in entry or "error" in entry}
        segmented = sum("voxels" in entry for entry in report.values())
        if report and not alone:
            _write_tables(report, writing, model.classes)
        for remark in joined_remarks({case: entry.get("remarks", ()) for case, entry in report.items()}):
            LOGGER.info("%s", remark)
        if found.passed_over:
            LOGGER.info("passed over: %s", found.describe())
        left_out = Counter(other.seems for others in found.left_out.values() for other in others)
        if left_out:
            kinds = ", ".join(f"{what} {number}" for what, number in sorted(left_out.items()))
            LOGGER.info("left out: %d DICOM series (%s); --series chooses them", left_out.total(), kinds)
        LOGGER.info("%d of %d studies segmented%s", segmented, len(refs), _told(writing) if segmented else "")
    return sum("error" in entry for entry in report.values())


def _read_ahead(refs: Iterable[StudyRef], reader: Executor) -> Iterator[tuple[StudyRef, Future[Study]]]:
    """Yields each study while the next one is being read."""
    reading: deque[tuple[StudyRef, Future[Study]]] = deque()
    for ref in refs:
        reading.append((ref, reader.submit(ref.load)))
        if len(reading) > 1:
            yield reading.popleft()
    yield from reading


def _review_and_write(ref: StudyRef, study: Study, prediction: Prediction, entry: Entry, writing: _Writing) -> None:
    """Writes mask, pictures and indices of a study; results and errors are added to its entry in the report."""
    output, case = writing.output, study.case
    files: list[str] = []

    def place(name: str) -> Path:
        files.append(name)
        return output / name

    try:
        output.mkdir(parents=True, exist_ok=True)
        write_mask(prediction.mask, study, place(f"{case}_seg.nii.gz"))
        entry |= _described(study, prediction)
        entry |= {"mask": files[0], "labels": label_files.label_entries(study.classes), "files": files}
        writing.sources[case] = source_of(ref, study, writing.found)
        review = writing.reviews[case] = review_study(study, prediction, writing.expected)
        entry |= describe(review, prediction)
        timed = {"frame_seconds": study.frame_seconds}
        if study.frame_seconds is not None:
            entry["frame_ms"] = 1000 * study.frame_seconds
        tell(case, review)
        if case in writing.found.dicom:
            write_image(study, place(f"{case}.nii.gz"))
            entry["image"] = files[-1]
        if review.indices.slices is not None:
            write_lv_indices({case: review.indices.slices}, place(f"{case}_indices.csv"), **timed)
        if review.indices.volumes_ml:
            write_volumes(review.indices.volumes_ml, place(f"{case}_volumes.csv"), **timed)
        draw_prediction(study, prediction, place(f"{case}.png"), review.indices.view)
        if writing.pages:
            told = {"remark": "; ".join(study.remarks)} if study.remarks else {}
            result = study_result(study, prediction, review, {"file": study.name, **told, **writing.provenance})
            write_study_page(result, place(f"{case}.html"))
            writing.listed[case] = index_entry(result, f"{case}.html")
        wanted = writing.dicom_seg and case in writing.found.dicom
        folder = output / f"{case}_dicom_seg"
        files += [
            f"{folder.name}/{path.name}" for path in _write_dicom_seg(prediction.mask, study, folder, wanted=wanted)
        ]
    except InputError as error:
        _note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: {case} cannot be written ({error.strerror}); make room or choose another --output"
        _note(message, "unwritable", entry)


def _write_mask_alone(ref: StudyRef, study: Study, prediction: Prediction, entry: Entry, writing: _Writing) -> None:
    """Writes the mask to the file that the user named, and nothing else."""
    output = writing.output
    try:
        write_mask(prediction.mask, study, output)
        entry |= _described(study, prediction)
        review = review_study(study, prediction, writing.expected)
        tell(study.case, review)
        LOGGER.info("%s is the mask; with a folder as --output there are pages, tables and pictures too", output)
    except InputError as error:
        _note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: cannot be written ({error.strerror}); make room or choose another --output"
        _note(message, "unwritable", entry)


def _described(study: Study, prediction: Prediction) -> Entry:
    """Returns the entry of a mask in the report."""
    counts = np.bincount(prediction.mask.ravel(), minlength=len(study.classes))
    return {
        "source": study.name,
        "box": dataclasses.asdict(prediction.box),
        "voxels": dict(zip(study.classes, counts.tolist(), strict=True)),
        "flags": list(prediction.flags),
        **({"remarks": list(study.remarks)} if study.remarks else {}),
    }


def _write_tables(report: dict[str, Entry], writing: _Writing, classes: Sequence[str]) -> None:
    """Writes the tables and files for all studies together."""
    output = writing.output
    patients = joined_patients(writing.reviews, classes)
    for patient in patients:
        if patient.apart:
            LOGGER.warning("%s: not joined to a heartbeat, because %s", patient.patient, patient.apart)
            for case in patient.frames:
                report[case].setdefault("remarks", []).append(f"no ejection fraction, because {patient.apart}")
    write_json(output / REPORT, report)
    if not any("voxels" in entry for entry in report.values()):
        return
    label_files.write_label_files(classes, output)
    if writing.reviews:
        write_summary(writing.reviews, patients, output / SUMMARY, sources=writing.sources)
    if writing.listed:
        failed = {c: IndexEntry(c, reason=e["message"]) for c, e in report.items() if "error" in e}
        write_index_page(list((writing.listed | failed).values()), output / INDEX, patients=patients)


def _told(writing: _Writing) -> str:
    """Returns the number of studies with each verdict, and the place of the results, as text."""
    counts = Counter(review.verdict for review in writing.reviews.values())
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    place = writing.output / INDEX if writing.listed else writing.output
    return f"{f' ({verdicts})' if verdicts else ''}; see {place}"


def _left_out(other: LeftOut) -> Entry:
    """What the report says of a series that was not segmented."""
    return dataclasses.asdict(other) | {"folder": str(other.folder)}


def _note(error: InputError | str, code: str, entry: Entry) -> None:
    LOGGER.error("error: %s: %s", code, error)
    entry |= {"error": code, "message": str(error)}


def _is_mask_file(output: Path) -> bool:
    """Returns whether `--output` is the file of one mask, not a folder.

    Raises:
        InputError: "suffix" if it has the suffix of another image format.
    """
    if output.is_dir():
        return False
    if output.name.lower().endswith(SUFFIXES) and not output.name.endswith(_MASK_SUFFIXES):
        raise InputError("suffix", f"{output}: masks are NIfTI files (.nii, .nii.gz); choose such a name, or a folder")
    return output.name.endswith(_MASK_SUFFIXES)


def _outputs(output: Path, found: Found, *, pages: bool) -> list[Path]:
    """Everything that may be written into the folder, and what an earlier prediction left of DICOM segmentations."""
    names = [REPORT, SUMMARY, *label_files.NAMES, *([INDEX] if pages else [])]
    for ref in found.refs:
        endings = ["_seg.nii.gz", ".png", "_indices.csv", "_volumes.csv", *([".html"] if pages else [])]
        if ref.case in found.dicom:
            endings.append(".nii.gz")
        names += [f"{ref.case}{ending}" for ending in endings]
        # These are removed when the new ones have been written.
        earlier = _segmentations(output / f"{ref.case}_dicom_seg", ref.case)
        names += [f"{path.parent.name}/{path.name}" for path in sorted(earlier)]
    return [output / name for name in names]


def _require_free(
    outputs: Iterable[Path], folder: Path, found: Found, runs: Sequence[Path], *, overwrite: bool
) -> None:
    """Checks that no file of the user would be replaced.

    Raises:
        InputError: "output-is-input" for a file of the input or the checkpoint, or for another file in the input folder
            that no earlier prediction wrote; "output-exists" without `overwrite`.
    """
    outputs = [path for path in outputs if os.path.lexists(path)]
    require_no_input(outputs, found.read | identities(files_below(runs, but=outputs)), "choose another --output")
    ours = _written_before(folder)
    for path in outputs:
        if identity(path) in found.files and path.relative_to(folder).as_posix() not in ours:
            raise InputError(
                "output-is-input",
                f"{path}: lies in the input folder, and no prediction wrote it; choose another --output",
            )
    if outputs and not overwrite:
        raise InputError("output-exists", f"{outputs[0]}: exists; pass --overwrite or another --output")


def _written_before(folder: Path) -> set[str]:
    """Returns the files that an earlier prediction wrote to a folder, by the names in its report."""
    try:
        with open(folder / REPORT, "rb") as file:
            content = json.loads(file.read(_LARGEST_REPORT))
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        return set()
    listed = [entry.get("files", []) for entry in content.values()]
    names = {name for files in listed if isinstance(files, list) for name in files if isinstance(name, str)}
    return names | {REPORT, SUMMARY, INDEX, *label_files.NAMES} if names else set()


def _require_dicom_seg(output: Path, *, alone: bool) -> None:
    if importlib.util.find_spec("highdicom") is None:
        raise InputError("missing-package", "--dicom_seg needs highdicom: pip install highdicom")
    if alone:
        raise InputError("output-path", f"{output}: --dicom_seg writes several files; name a folder")


def _write_dicom_seg(mask: np.ndarray, study: Study, folder: Path, *, wanted: bool) -> list[Path]:
    """Writes `folder/CASE.dcm`, or one file for each frame of a cine; no file if nothing was segmented or wanted.

    The files of an earlier prediction are removed when the new ones have been written.
    """
    written = []
    if wanted and mask.any():
        colours = class_colours(study.classes)
        written = write_mask_dicom_seg(mask, study, folder / f"{study.case}.dcm", colours=colours)
    for path in _segmentations(folder, study.case) - set(written):
        path.unlink()
    return written


def _segmentations(folder: Path, case: str) -> set[Path]:
    """Returns the DICOM segmentations of a study in a folder."""
    return set(folder.glob(f"{glob.escape(case)}*.dcm"))
