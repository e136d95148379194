"""Prediction on files and folders: masks, pictures, indices and a report."""

import dataclasses
import functools
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import jax

from foanet_jax.data.dicom.wanted import DEFAULT, Wanted
from foanet_jax.data.inputs import SUFFIXES, Paths, find_studies
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.patients.table import read_patients, with_bodies
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.model import (
    Runs,
    describe_run,
    describe_source,
    find_runs,
    load_description,
    load_model,
)
from foanet_jax.jobs.experiment.options import memory_bytes
from foanet_jax.jobs.experiment.reviewing import expectations, tell
from foanet_jax.jobs.studies.writing import (
    PREDICTIONS,
    Entry,
    Progress,
    Writing,
    describe_mask,
    note,
    outputs_of,
    require_free,
    tell_left_out,
    write_all,
)
from foanet_jax.measures.body.surface import FORMULAS, Formula
from foanet_jax.measures.indices.counting import Counting
from foanet_jax.measures.quality.review import leave_out, review_study
from foanet_jax.pipeline import Prediction, predict_study
from foanet_jax.system.diskspace import require_writable
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import identities

LOGGER = logging.getLogger(__name__)
_MASK_SUFFIXES = (".nii", ".nii.gz")


def predict(
    checkpoint: Runs,
    source: Paths,
    output: Path,
    *,
    third_axis: str,
    overwrite: bool,
    dicom_seg: bool = False,
    whole_cine: bool = False,
    memory_mb: int | None = None,
    pages: bool = True,
    tta: str | None = None,
    temporal: str | None = None,
    spacing_mm: Sequence[float] | None = None,
    dicom: Wanted = DEFAULT,
    patients: Path | None = None,
    formula: Formula = FORMULAS[0],
    convention: str | None = None,
    counting: Counting | None = None,
) -> int:
    """Segments the studies in files and folders; returns the number of studies that could not be segmented.

    Leaves in `output` for each study: `CASE_seg.nii.gz`, the mask on the input's grid; `CASE.png`; of short-axis hearts
    `CASE_indices.csv`; of stacks `CASE_volumes.csv`; of DICOM input `CASE.nii.gz`, the image that the mask lies on, and
    with `dicom_seg` the folder `CASE_dicom_seg` with DICOM segmentations; with `pages` `CASE.html`, a page with
    everything about the study. For all of them: `predictions.json` with boxes, flags, indices and verdicts;
    `summary.csv`, a row for each patient, `frames.csv`, a row for each study that is one frame of a patient, and
    `summary.schema.json`, the data dictionary; `labels.txt` and `labels.ctbl`, the classes' names and colours for
    ITK-SNAP and 3D Slicer; with `pages` `index.html`.

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
        whole_cine: write one of them for all frames of a cine; without `dicom_seg`, this has no effect.
        memory_mb: MiB for a forward pass; by default what the (first) training's configuration says.
        pages: write a page of each study.
        tta: test-time augmentation, "none", "flips" or "turns"; by default what that configuration says.
        temporal: what is done with the maps of a cine, "none" or "motion"; by default what that configuration says.
        spacing_mm: distances of slices, rows and columns, which replace those in the headers; see `find_studies`.
        dicom: how DICOM input is read.
        patients: table of height, weight, sex, age and heart rate by study; see `read_patients`.
        formula: of the body surface area.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; by default, what the labels of
            the training did, if that is known. Reference values are shown only for masks of their convention.
        counting: which slices of short-axis hearts count, and which frames are measured; by default, the rule of the
            SCMR. What does not count is not in the mask.

    Raises:
        InputError: no checkpoint or no input; a table of patients that does not fit; results that are there already,
            without `overwrite`; an output that is a file of the input; one mask's file for several studies; with
            `dicom_seg`, highdicom is not installed or no input is DICOM.
    """
    alone = _is_mask_file(output)
    if dicom_seg:
        _require_dicom_seg(output, alone=alone)
    require_writable(output.absolute().parent if alone else output, "--output")
    runs = find_runs(checkpoint)
    description = load_description(runs[0])
    facts, expected = describe_run(description), expectations(runs, description)
    budget = facts.memory_bytes if memory_mb is None else memory_bytes({"prediction": {"memory_mb": memory_mb}})
    turned, averaged = tta or facts.tta, temporal or facts.temporal
    found = find_studies(
        source,
        third_axis=third_axis,  # type: ignore[arg-type]
        classes=tuple(description["classes"]),
        slice_axis=facts.slice_axis,
        spacing_mm=spacing_mm,
        dicom=dicom,
    )
    if patients is not None:
        found.refs = with_bodies(found.refs, read_patients(patients), patients)
        found.read |= identities([patients])  # It is not replaced either.
    refs = found.refs
    if dicom_seg and not found.dicom:
        raise InputError("not-dicom", f"{source}: not DICOM, so --dicom_seg has no images to refer to; leave it out")
    if alone and len(refs) > 1:
        raise InputError(
            "output-path", f"{output}: the file of one mask, but there are {len(refs)} studies; name a folder"
        )
    outputs = [output] if alone else outputs_of(output, found, PREDICTIONS, pages=pages)
    require_free(outputs, output.parent if alone else output, found, runs, overwrite=overwrite)
    model = load_model(runs)  # It takes seconds: first comes all that can be wrong with the files.
    if temporal is not None:
        model = dataclasses.replace(model, temporal=temporal)
    provenance = {
        "checkpoint": ", ".join(map(describe_source, runs)),
        "test-time augmentation": turned,
        **({"averaging over time": averaged} if averaged != "none" else {}),
        "JAX": jax.__version__,
    }
    writing = Writing(
        output,
        found,
        PREDICTIONS,
        functools.partial(
            review_study,
            expected=expected,
            formula=formula,
            convention=facts.convention if convention is None else convention,
        ),
        provenance,
        counting or Counting(),
        predicted=True,
        dicom_seg=dicom_seg,
        whole_cine=whole_cine,
        pages=pages,
    )

    def work(ref: StudyRef, study: Study, entry: Entry, within: Progress) -> Prediction:
        return predict_study(study, model, memory_bytes=budget, tta=turned, progress=within)

    return write_all(
        refs,
        work,
        writing,
        classes=model.classes,
        doing="predicting",
        done="segmented",
        write=_write_mask_alone if alone else None,
        tables=not alone,
    )


def _write_mask_alone(ref: StudyRef, study: Study, prediction: Prediction, entry: Entry, writing: Writing) -> None:
    """Writes the mask to the file that the user named, and nothing else."""
    output = writing.output
    try:
        prediction, count = leave_out(study, prediction, writing.counting)
        write_mask(prediction.mask, study, output)
        entry |= describe_mask(study, prediction, writing)
        review = writing.review(study, prediction, count=count)
        tell(study.case, review)
        tell_left_out(study.case, review)
        LOGGER.info("%s is the mask; with a folder as --output there are pages, tables and pictures too", output)
    except InputError as error:
        note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: cannot be written ({error.strerror}); make room or choose another --output"
        note(message, "unwritable", entry)


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


def _require_dicom_seg(output: Path, *, alone: bool) -> None:
    if importlib.util.find_spec("highdicom") is None:
        raise InputError("missing-package", "--dicom_seg needs highdicom: pip install highdicom")
    if alone:
        raise InputError("output-path", f"{output}: --dicom_seg writes several files; name a folder")
