"""Writes what is known of segmented studies: masks, pictures, indices, pages, and the tables of all of them."""

import dataclasses
import glob
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.dicom import write_mask_dicom_seg
from foanet_jax.data.dicom.stacks.selection import LeftOut
from foanet_jax.data.inputs import Found, source_of
from foanet_jax.data.nifti.write import write_image, write_mask
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study, joined_remarks
from foanet_jax.jobs.experiment.evaluating import draw_prediction
from foanet_jax.jobs.experiment.pages import index_entry, links, study_result
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.jobs.experiment.reviewing import tell
from foanet_jax.measures.dictionary import FRAMES, SUMMARY
from foanet_jax.measures.dictionary import NAME as SCHEMA
from foanet_jax.measures.indices.counted import sentences_of
from foanet_jax.measures.indices.counting import Counting
from foanet_jax.measures.indices.tables import write_lv_indices, write_volumes
from foanet_jax.measures.quality.review import Review, describe, leave_out
from foanet_jax.measures.quality.summary import joined_patients, write_summary
from foanet_jax.measures.quality.verdict import VERDICTS
from foanet_jax.pages import label_files
from foanet_jax.pages.drawing.style import class_colours
from foanet_jax.pages.study_page import IndexEntry, write_index_page, write_study_page
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import files_below, identities, identity, require_no_input
from foanet_jax.system.progress import messages_above, progress

LOGGER = logging.getLogger(__name__)
Entry = dict[str, Any]
Progress = Callable[[str, int, int], None]
INDEX, TABLES = "index.html", (SUMMARY, FRAMES, SCHEMA)
PREDICTIONS, MEASUREMENTS = REPORTS = ("predictions.json", "measurements.json")
_LARGEST_REPORT = 2**28  # bytes


@dataclasses.dataclass(frozen=True)
class Writing:
    """The settings for writing studies, and what is collected for the tables of all studies.

    Attributes:
        output: the folder, or the file of a single mask.
        found: the input.
        report: the name of the JSON file with an entry for each study, one of REPORTS.
        review: reviews a study and its mask, with `count`, which slices of the mask count.
        provenance: what made the masks, by name.
        counting: how to decide which slices count.
        predicted: the masks are predictions, whose box and flags belong into the report.
        dicom_seg: write the masks of DICOM input as DICOM segmentations as well.
        whole_cine: write one of them for all frames of a cine.
        pages: write a page of each study.
        reviews: the reviews of the written studies, by case.
        sources: the files or folders of these studies, by case.
        listed: their rows in the index of pages, by case.
    """

    output: Path
    found: Found
    report: str
    review: Callable[..., Review]
    provenance: Mapping[str, Any]
    counting: Counting
    predicted: bool = False
    dicom_seg: bool = False
    whole_cine: bool = False
    pages: bool = True
    reviews: dict[str, Review] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    listed: dict[str, IndexEntry] = dataclasses.field(default_factory=dict)


Write = Callable[[StudyRef, Study, Prediction, Entry, Writing], None]


def write_all(
    refs: Sequence[StudyRef],
    work: Callable[[StudyRef, Study, Entry, Progress], Prediction],
    writing: Writing,
    *,
    classes: Sequence[str],
    doing: str,
    done: str,
    write: Write | None = None,
    tables: bool = True,
) -> int:
    """Works on studies and writes what is known of each; returns the number of studies that failed.

    A study that cannot be read or written is reported; the others are written. While one study is worked on, the next
    one is read and the previous one is written, so three studies are in memory. Whatever ends the work, what was done
    is written down.

    Args:
        refs: the studies, in order.
        work: returns the mask of a study in the form of a prediction. It may add to the study's entry in the report,
            and is given a function for the progress within the study.
        writing: the settings, which also collect what the tables need.
        classes: names of the classes of all masks by index.
        doing, done: the work in words, such as "predicting" and "segmented".
        write: writes one study; by default `review_and_write`.
        tables: also write the files about all studies together.
    """
    report: dict[str, Entry] = {}
    found, write = writing.found, write or review_and_write
    try:
        with (
            messages_above(),
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
            progress(total=len(refs), desc=doing, unit="study") as bar,
        ):
            written: Future[None] | None = None

            def within(what: str, count: int, total: int) -> None:
                bar.set_postfix_str(f"{what} {count} of {total} slices")

            for ref, loading in _read_ahead(refs, reader):
                entry = report[ref.case] = {"source": ref.source}
                if ref.case in found.left_out:
                    entry["left_out"] = [_left_out(other) for other in found.left_out[ref.case]]
                try:
                    study = loading.result()
                    prediction = work(ref, study, entry, within)
                except InputError as error:
                    note(error, error.code, entry)
                else:
                    if written is not None:
                        written.result()
                    written = writer.submit(write, ref, study, prediction, entry, writing)
                bar.update()
            if written is not None:
                written.result()
    finally:
        report = {case: entry for case, entry in report.items() if "voxels" in entry or "error" in entry}
        finished = sum("voxels" in entry for entry in report.values())
        if report and tables:
            _write_tables(report, writing, classes)
        for remark in joined_remarks({case: entry.get("remarks", ()) for case, entry in report.items()}):
            LOGGER.info("%s", remark)
        if found.passed_over:
            LOGGER.info("passed over: %s", found.describe())
        left_out = Counter(other.seems for others in found.left_out.values() for other in others)
        if left_out:
            kinds = ", ".join(f"{what} {number}" for what, number in sorted(left_out.items()))
            LOGGER.info("left out: %d DICOM series (%s); --series chooses them", left_out.total(), kinds)
        LOGGER.info("%d of %d studies %s%s", finished, len(refs), done, _told(writing) if finished else "")
    return sum("error" in entry for entry in report.values())


def _read_ahead(refs: Iterable[StudyRef], reader: Executor) -> Iterator[tuple[StudyRef, Future[Study]]]:
    """Yields each study while the next one is being read."""
    reading: deque[tuple[StudyRef, Future[Study]]] = deque()
    for ref in refs:
        reading.append((ref, reader.submit(ref.load)))
        if len(reading) > 1:
            yield reading.popleft()
    yield from reading


def review_and_write(ref: StudyRef, study: Study, prediction: Prediction, entry: Entry, writing: Writing) -> None:
    """Writes mask, pictures and indices of a study; results and errors are added to its entry in the report."""
    output, case = writing.output, study.case
    files: list[str] = []

    def place(name: str) -> Path:
        files.append(name)
        return output / name

    try:
        prediction, count = leave_out(study, prediction, writing.counting)
        output.mkdir(parents=True, exist_ok=True)
        write_mask(prediction.mask, study, place(f"{case}_seg.nii.gz"))
        entry |= describe_mask(study, prediction, writing)
        entry |= {"mask": files[0], "labels": label_files.label_entries(study.classes), "files": files}
        writing.sources[case] = source_of(ref, study, writing.found)
        review = writing.reviews[case] = writing.review(study, prediction, count=count)
        entry |= describe(review, prediction)
        timed = {"frame_seconds": study.frame_seconds}
        if study.frame_seconds is not None:
            entry["frame_ms"] = 1000 * study.frame_seconds
        tell(case, review)
        tell_left_out(case, review)
        if case in writing.found.dicom:
            write_image(study, place(f"{case}.nii.gz"))
            entry["image"] = files[-1]
        if review.indices.slices is not None:
            counts = {} if count is None else {case: count}
            write_lv_indices({case: review.indices.slices}, place(f"{case}_indices.csv"), counts=counts, **timed)
        if review.indices.volumes_ml:
            write_volumes(review.indices.volumes_ml, place(f"{case}_volumes.csv"), **timed)
        draw_prediction(study, prediction, place(f"{case}.png"), review.indices.view)
        if writing.pages:
            told = {"remark": "; ".join(study.remarks)} if study.remarks else {}
            beside = links(case, files) | {"all numbers (JSON)": writing.report, "all studies": INDEX}
            made = {"file": study.name, **told, **writing.provenance}
            result = study_result(study, prediction, review, made, beside)
            write_study_page(result, place(f"{case}.html"))
            writing.listed[case] = index_entry(result, f"{case}.html")
        wanted = writing.dicom_seg and case in writing.found.dicom
        folder = output / f"{case}_dicom_seg"
        segmented = _write_dicom_seg(prediction.mask, study, folder, wanted=wanted, whole_cine=writing.whole_cine)
        files += [f"{folder.name}/{path.name}" for path in segmented]
    except InputError as error:
        note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: {case} cannot be written ({error.strerror}); make room or choose another --output"
        note(message, "unwritable", entry)


def tell_left_out(case: str, review: Review) -> None:
    """Logs which slices do not count at end diastole and end systole, and why."""
    count = review.count
    if count is not None and (count.left_out.any() or count.remark):
        LOGGER.info("%s: %s", case, " ".join(sentences_of(count, review.moments)))


def describe_mask(study: Study, prediction: Prediction, writing: Writing) -> Entry:
    """Returns the entry of a mask in the report."""
    counts = np.bincount(prediction.mask.ravel(), minlength=len(study.classes))
    return {
        "source": study.name,
        **({"box": dataclasses.asdict(prediction.box)} if writing.predicted else {}),
        "voxels": dict(zip(study.classes, counts.tolist(), strict=True)),
        **({"flags": list(prediction.flags)} if writing.predicted else {}),
        **({"remarks": list(study.remarks)} if study.remarks else {}),
    }


def _write_tables(report: dict[str, Entry], writing: Writing, classes: Sequence[str]) -> None:
    """Writes the tables and files for all studies together."""
    output = writing.output
    patients = joined_patients(writing.reviews, classes)
    for patient in patients:
        if patient.apart:
            LOGGER.warning("%s: not joined to a heartbeat, because %s", patient.patient, patient.apart)
            for case in patient.frames:
                report[case].setdefault("remarks", []).append(f"no ejection fraction, because {patient.apart}")
    write_json(output / writing.report, report)
    if not any("voxels" in entry for entry in report.values()):
        return
    label_files.write_label_files(classes, output)
    if writing.reviews:
        write_summary(writing.reviews, patients, output, classes=classes, sources=writing.sources)
    if writing.listed:
        failed = {c: IndexEntry(c, reason=e["message"]) for c, e in report.items() if "error" in e}
        write_index_page(list((writing.listed | failed).values()), output / INDEX, patients=patients)


def _told(writing: Writing) -> str:
    """Returns the number of studies with each verdict, and the place of the results, as text."""
    counts = Counter(review.verdict for review in writing.reviews.values())
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    place = writing.output / INDEX if writing.listed else writing.output
    return f"{f' ({verdicts})' if verdicts else ''}; see {place}"


def _left_out(other: LeftOut) -> Entry:
    """What the report says of a series that was not segmented."""
    return dataclasses.asdict(other) | {"folder": str(other.folder)}


def note(error: InputError | str, code: str, entry: Entry) -> None:
    LOGGER.error("error: %s: %s", code, error)
    entry |= {"error": code, "message": str(error)}


def outputs_of(output: Path, found: Found, report: str, *, pages: bool) -> list[Path]:
    """Everything that may be written into the folder, and what an earlier prediction left of DICOM segmentations."""
    names = [report, *TABLES, *label_files.NAMES, *([INDEX] if pages else [])]
    for ref in found.refs:
        endings = ["_seg.nii.gz", ".png", "_indices.csv", "_volumes.csv", *([".html"] if pages else [])]
        if ref.case in found.dicom:
            endings.append(".nii.gz")
        names += [f"{ref.case}{ending}" for ending in endings]
        # These are removed when the new ones have been written.
        earlier = _segmentations(output / f"{ref.case}_dicom_seg", ref.case)
        names += [f"{path.parent.name}/{path.name}" for path in sorted(earlier)]
    return [output / name for name in names]


def require_free(outputs: Iterable[Path], folder: Path, found: Found, runs: Sequence[Path], *, overwrite: bool) -> None:
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
    """Returns the files that an earlier job of this kind wrote to a folder, by the names in its report."""
    names: set[str] = set()
    for report in REPORTS:
        try:
            with open(folder / report, "rb") as file:
                content = json.loads(file.read(_LARGEST_REPORT))
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
            continue
        listed = [entry.get("files", []) for entry in content.values()]
        written = {name for files in listed if isinstance(files, list) for name in files if isinstance(name, str)}
        names |= written | ({report, INDEX, *TABLES, *label_files.NAMES} if written else set())
    return names


def _write_dicom_seg(mask: np.ndarray, study: Study, folder: Path, *, wanted: bool, whole_cine: bool) -> list[Path]:
    """Writes `folder/CASE.dcm`, or one file for each frame of a cine; no file if nothing was segmented or wanted.

    The files of an earlier prediction are removed when the new ones have been written.
    """
    written = []
    if wanted and mask.any():
        colours = class_colours(study.classes)
        path = folder / f"{study.case}.dcm"
        written = write_mask_dicom_seg(mask, study, path, whole_cine=whole_cine, colours=colours)
    for path in _segmentations(folder, study.case) - set(written):
        path.unlink()
    return written


def _segmentations(folder: Path, case: str) -> set[Path]:
    """Returns the DICOM segmentations of a study in a folder."""
    return set(folder.glob(f"{glob.escape(case)}*.dcm"))
