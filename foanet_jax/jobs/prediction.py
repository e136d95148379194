"""Prediction on a file or a folder of them: masks, pictures, indices and a report."""

import dataclasses
import glob
import importlib.util
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from foanet_jax.data.catalogue import is_dicom_input, read_input
from foanet_jax.data.dicom import write_mask_dicom_seg
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
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
from foanet_jax.pages.study_page import IndexEntry, write_index_page, write_study_page
from foanet_jax.pipeline import Prediction, predict_study
from foanet_jax.system.diskspace import require_writable
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import messages_above, progress

LOGGER = logging.getLogger(__name__)
Entry = dict[str, Any]
INDEX = "index.html"


@dataclasses.dataclass(frozen=True)
class _Writing:
    """How studies are written, and what is kept of them for the tables of all.

    Attributes:
        output: folder.
        expected: what the run knows of studies.
        provenance: what made the masks, by name.
        dicom_seg, pages: see `predict`.
        reviews: by case, of the studies written.
        listed: by case, their lines in the index of pages.
    """

    output: Path
    expected: Expectations
    provenance: Mapping[str, Any]
    dicom_seg: bool
    pages: bool
    reviews: dict[str, Review] = dataclasses.field(default_factory=dict)
    listed: dict[str, IndexEntry] = dataclasses.field(default_factory=dict)


def predict(
    checkpoint: Runs,
    source: Path,
    output: Path,
    *,
    third_axis: str,
    overwrite: bool,
    dicom_seg: bool = False,
    memory_mb: int | None = None,
    pages: bool = True,
    tta: str | None = None,
) -> int:
    """Segments a file or every file of a folder; returns how many could not be.

    Leaves in `output`, for each study: `CASE.nii.gz` on the input's grid and `CASE.png`; of short-axis hearts
    `CASE_indices.csv`, of stacks `CASE_volumes.csv`; with `dicom_seg` also `CASE_seg/`, its DICOM segmentations. And
    `predictions.json` with boxes, flags, indices and the verdict, and `summary.csv`, a row a study. With `pages` also
    `CASE.html`, everything about a study to look at, and `index.html`. One bad study is reported and the rest go on.
    While a study is segmented, the next is read and the one before it written: three are in memory.

    Args:
        checkpoint: a weights file, the workdir of a training, or several that predict together, see `find_runs`.
        source: as `read_input` takes it.
        output: folder for what is written.
        third_axis: "slice" or "time", what the third axis of 3D NIfTI files is.
        overwrite: replace masks that are there.
        dicom_seg: of DICOM input, write the masks as DICOM segmentations as well.
        memory_mb: MiB for a forward pass; by default what the (first) training's configuration says.
        pages: write a page of each study.
        tta: test-time augmentation, "none", "flips" or "turns"; by default what that says.

    Raises:
        InputError: no checkpoint, no input, or masks that are already there without `overwrite`; with `dicom_seg`,
            highdicom is not installed or the input is not DICOM.
    """
    if dicom_seg:
        _require_dicom_seg(source)
    require_writable(output, "--output")
    runs = find_runs(checkpoint)
    model = load_model(runs)
    description = load_description(runs[0])
    facts, expected = describe_run(description), expectations(runs, description)
    budget = facts.memory_bytes if memory_mb is None else memory_bytes({"prediction": {"memory_mb": memory_mb}})
    turned = tta or facts.tta
    refs = read_input(source, third_axis=third_axis, classes=model.classes, slice_axis=facts.slice_axis)  # type: ignore[arg-type]
    endings = (".nii.gz", "_seg") if dicom_seg else (".nii.gz",)
    paths = [output / f"{ref.case}{ending}" for ref in refs for ending in endings]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise InputError("output-exists", f"{existing[0]}: exists; pass --overwrite or another --output")
    report: dict[str, Entry] = {}
    provenance = {
        "checkpoint": ", ".join(map(describe_source, runs)),
        "test-time augmentation": turned,
        "JAX": jax.__version__,
    }
    writing = _Writing(output, expected, provenance, dicom_seg=dicom_seg, pages=pages)
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
                entry = report[ref.case] = {}
                try:
                    study = loading.result()
                    prediction = predict_study(study, model, memory_bytes=budget, tta=turned, progress=within)
                except InputError as error:
                    _note(error, error.code, entry)
                else:
                    if written is not None:
                        written.result()
                    written = writer.submit(_review_and_write, study, prediction, entry, writing)
                bar.update()
    finally:
        # What was segmented is told, whatever ended the rest.
        report = {case: entry for case, entry in report.items() if entry}
        segmented = sum("voxels" in entry for entry in report.values())
        if segmented:
            write_json(output / "predictions.json", report)
            patients = joined_patients(writing.reviews, model.classes)
            if writing.reviews:
                write_summary(writing.reviews, patients, output / "summary.csv")
            if writing.listed:
                failed = {c: IndexEntry(c, reason=e["message"]) for c, e in report.items() if "error" in e}
                write_index_page(list((writing.listed | failed).values()), output / INDEX, patients=patients)
        LOGGER.info("%d of %d studies segmented%s", segmented, len(refs), _told(writing) if segmented else "")
    return sum("error" in entry for entry in report.values())


def _read_ahead(refs: Iterable[StudyRef], reader: Executor) -> Iterator[tuple[StudyRef, Future[Study]]]:
    """Each study, the one after it being read meanwhile."""
    reading: deque[tuple[StudyRef, Future[Study]]] = deque()
    for ref in refs:
        reading.append((ref, reader.submit(ref.load)))
        if len(reading) > 1:
            yield reading.popleft()
    yield from reading


def _review_and_write(study: Study, prediction: Prediction, entry: Entry, writing: _Writing) -> None:
    """Writes a study's mask, pictures and indices, and what is to be told of it, errors too, into its entry."""
    output = writing.output
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_mask(prediction.mask, study, output / f"{study.case}.nii.gz")
        counts = np.bincount(prediction.mask.ravel(), minlength=len(study.classes))
        entry |= {
            "source": study.name,
            "box": dataclasses.asdict(prediction.box),
            "voxels": dict(zip(study.classes, counts.tolist(), strict=True)),
            "flags": list(prediction.flags),
        }
        review = writing.reviews[study.case] = review_study(study, prediction, writing.expected)
        entry |= describe(review, prediction)
        timed = {"frame_seconds": study.frame_seconds}
        if study.frame_seconds is not None:
            entry["frame_ms"] = 1000 * study.frame_seconds
        tell(study.case, review)
        if review.indices.slices is not None:
            indices = {study.case: review.indices.slices}
            write_lv_indices(indices, output / f"{study.case}_indices.csv", **timed)
        if review.indices.volumes_ml:
            write_volumes(review.indices.volumes_ml, output / f"{study.case}_volumes.csv", **timed)
        draw_prediction(study, prediction, output / f"{study.case}.png")
        if writing.pages:
            result = study_result(study, prediction, review, {"file": study.name, **writing.provenance})
            write_study_page(result, output / f"{study.case}.html")
            writing.listed[study.case] = index_entry(result, f"{study.case}.html")
        _write_dicom_seg(prediction.mask, study, output / f"{study.case}_seg", wanted=writing.dicom_seg)
    except InputError as error:
        _note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: {study.case} cannot be written ({error.strerror}); make room or choose another --output"
        _note(message, "unwritable", entry)


def _told(writing: _Writing) -> str:
    """How many studies have which verdict, and where to look."""
    counts = Counter(review.verdict for review in writing.reviews.values())
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f" ({verdicts}); see {writing.output / INDEX if writing.listed else writing.output}"


def _note(error: InputError | str, code: str, entry: Entry) -> None:
    LOGGER.error("error: %s: %s", code, error)
    entry |= {"error": code, "message": str(error)}


def _require_dicom_seg(source: Path) -> None:
    if importlib.util.find_spec("highdicom") is None:
        raise InputError("missing-package", "--dicom_seg needs highdicom: pip install highdicom")
    if source.exists() and not is_dicom_input(source):
        raise InputError(
            "not-dicom", f"{source}: not DICOM, so that --dicom_seg has no images to refer to; leave it out"
        )


def _write_dicom_seg(mask: np.ndarray, study: Study, folder: Path, *, wanted: bool) -> None:
    """`folder/CASE.dcm`, or one file for each frame of a cine; none where nothing was segmented or none is wanted.

    Those of an earlier prediction go once the new ones are there.
    """
    written = write_mask_dicom_seg(mask, study, folder / f"{study.case}.dcm") if wanted and mask.any() else []
    for path in set(folder.glob(f"{glob.escape(study.case)}*.dcm")) - set(written):
        path.unlink()
