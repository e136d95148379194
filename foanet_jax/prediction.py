"""Prediction on a file or a folder of them: masks, pictures and a report."""

import dataclasses
import glob
import importlib.util
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from foanet_jax.data.catalogue import is_dicom_input, read_input
from foanet_jax.data.dicom import write_mask_dicom_seg
from foanet_jax.data.nifti import write_mask
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.errors import InputError
from foanet_jax.experiment import draw_prediction, load_model, memory_bytes, slice_axis_of, write_json
from foanet_jax.pipeline import Prediction, predict_study
from foanet_jax.training.checkpoint import open_checkpoints

LOGGER = logging.getLogger(__name__)
Entry = dict[str, Any]


def predict(
    run: Path,
    source: Path,
    output: Path,
    *,
    third_axis: str,
    overwrite: bool,
    dicom_seg: bool = False,
    memory_mb: int | None = None,
) -> int:
    """Segments a file or every file of a folder; returns how many could not be.

    Leaves in `output`, for each study: `CASE.nii.gz` on the input's grid and `CASE.png`; with `dicom_seg` also
    `CASE_seg/`, its DICOM segmentations; and `predictions.json` with boxes and flags. One bad study is reported and
    the rest go on. While a study is segmented, the next is read and the one before it written: three are in memory.

    Args:
        run: the workdir of a training.
        source: as `read_input` takes it.
        output: folder for what is written.
        third_axis: "slice" or "time", what the third axis of 3D NIfTI files is.
        overwrite: replace masks that are there.
        dicom_seg: of DICOM input, write the masks as DICOM segmentations as well.
        memory_mb: MiB for a forward pass; by default what the training's configuration says.

    Raises:
        InputError: no checkpoint, no input, or masks that are already there without `overwrite`; with `dicom_seg`,
            highdicom is not installed or the input is not DICOM.
    """
    if dicom_seg:
        _require_dicom_seg(source)
    model = load_model(run)
    with open_checkpoints(run / "segmentation", write=False) as checkpoints:
        description = checkpoints.description("best")
    config = description["config"]
    budget = memory_bytes(config if memory_mb is None else {"prediction": {"memory_mb": memory_mb}})
    # Checkpoints of older versions do not tell it.
    slice_axis = description["slice_axis"] if "slice_axis" in description else slice_axis_of(config)
    refs = read_input(source, third_axis=third_axis, classes=model.classes, slice_axis=slice_axis)  # type: ignore[arg-type]
    endings = (".nii.gz", "_seg") if dicom_seg else (".nii.gz",)
    paths = [output / f"{ref.case}{ending}" for ref in refs for ending in endings]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise InputError("output-exists", f"{existing[0]}: exists; pass --overwrite or another --output")
    report: dict[str, Entry] = {}
    try:
        with (
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
            tqdm(total=len(refs), desc="predicting", unit="study", mininterval=1) as bar,
        ):
            writing: Future[None] | None = None
            for ref, loading in _read_ahead(refs, reader):
                entry = report[ref.case] = {}
                try:
                    study = loading.result()
                    prediction = predict_study(study, model, memory_bytes=budget)
                except InputError as error:
                    _note(error, error.code, entry)
                else:
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(_write, study, prediction, output, entry, dicom_seg=dicom_seg)
                bar.update()
    finally:
        # What was segmented is told, whatever ended the rest.
        report = {case: entry for case, entry in report.items() if entry}
        segmented = sum("voxels" in entry for entry in report.values())
        if segmented:
            write_json(output / "predictions.json", report)
            LOGGER.info("%d of %d studies segmented, in %s", segmented, len(refs), output)
    return sum("error" in entry for entry in report.values())


def _read_ahead(refs: Iterable[StudyRef], reader: Executor) -> Iterator[tuple[StudyRef, Future[Study]]]:
    """Each study, the one after it being read meanwhile."""
    reading: deque[tuple[StudyRef, Future[Study]]] = deque()
    for ref in refs:
        reading.append((ref, reader.submit(ref.load)))
        if len(reading) > 1:
            yield reading.popleft()
    yield from reading


def _write(study: Study, prediction: Prediction, output: Path, entry: Entry, *, dicom_seg: bool) -> None:
    """Writes a study's mask and pictures, and what is to be told of it, errors too, into its entry of the report."""
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
        for flag in prediction.flags:
            LOGGER.warning("%s: %s", study.case, flag)
        draw_prediction(study, prediction, output / f"{study.case}.png")
        _write_dicom_seg(prediction.mask, study, output / f"{study.case}_seg", wanted=dicom_seg)
    except InputError as error:
        _note(error, error.code, entry)
    except OSError as error:
        message = f"{output}: {study.case} cannot be written ({error.strerror}); make room or choose another --output"
        _note(message, "unwritable", entry)


def _note(error: InputError | str, code: str, entry: Entry) -> None:
    LOGGER.error("%s", error)
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
