"""The Python interface: `foanet_jax.load(RUN).predict(FILE_OR_ARRAY)`."""

import dataclasses
import functools
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.data.dicom.wanted import DEFAULT, Wanted, wanted
from foanet_jax.data.inputs import files_of, read_input
from foanet_jax.data.layout import (
    has_frames_for_slices,
    has_oblong_pixels,
    is_cut_across,
    require_possible_field,
)
from foanet_jax.data.nifti.geometry import given_spacing
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.memory import array_of, is_image, save_image
from foanet_jax.data.nifti.orientation import SliceAxis
from foanet_jax.data.nifti.write import in_file, write_mask
from foanet_jax.data.study import Study, validate_study
from foanet_jax.image.boxes import Box
from foanet_jax.jobs.experiment.model import describe_run, find_runs, load_description, load_model
from foanet_jax.jobs.experiment.reviewing import expectations
from foanet_jax.measures.indices.counting import SCMR, SliceCount, counting_of
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.review import NO_EXPECTATIONS, Expectations, Review, leave_out, review_study
from foanet_jax.pipeline import MEMORY_BYTES, Model, Prediction, predict_study
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import identities, require_no_input
from foanet_jax.training.weights import default_weights


@dataclasses.dataclass(frozen=True)
class Result:
    """The segmentation of a file or an array.

    Attributes:
        mask: uint8 class indices. For an array, it has the shape of the array; for an image, that of nibabel's
            `get_fdata()` or SimpleITK's `GetArrayFromImage`; for a file, it is (T, Z, H, W).
        classes: names of the classes by index; 0 is the background.
        study: the study that was segmented, with its spacing and, for a file, its affine.
        prediction: the full result of the pipeline; its mask is (T, Z, H, W).
        count: which slices of a short-axis heart count. What does not count is not in the mask. None for other hearts.
        expected: what the run expects of its studies, for the quality control.
        convention: what the masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    study: Study
    prediction: Prediction
    count: SliceCount | None = None
    expected: Expectations = NO_EXPECTATIONS
    convention: str = ""

    def __repr__(self) -> str:
        """Names the study, its shape, the classes and the verdict, in one line."""
        size = "×".join(map(str, self.study.voxels.shape))
        return f"Result({self.study.case!r}, {size} (T, Z, H, W), {', '.join(self.classes[1:])}: {self.verdict})"

    @functools.cached_property
    def review(self) -> Review:
        """The quality control of the mask, as the job predict does it."""
        return review_study(self.study, self.prediction, self.expected, count=self.count, convention=self.convention)

    @property
    def indices(self) -> dict[str, float]:
        """The clinical indices that are known, by name with unit, such as `lv_ef_percent`; see docs/indices.md."""
        return self.review.numbers

    @property
    def verdict(self) -> str:
        """The verdict of the quality control: "good", "check" or "reject"."""
        return self.review.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that the quality control found, with frames and slices from 0."""
        return self.review.findings

    @property
    def box(self) -> Box:
        """The bounding box in which the study was segmented, in px."""
        return self.prediction.box

    @property
    def flags(self) -> tuple[str, ...]:
        """Warnings about the mask, as sentences; empty if there are none."""
        return self.prediction.flags

    @property
    def remarks(self) -> tuple[str, ...]:
        """The decisions that the reading of the file required, as sentences; empty if there were none."""
        return self.study.remarks

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask as NIfTI. For a NIfTI input, the mask has the shape, affine and header of that file.

        An existing file is replaced, unless it is the one that was segmented.

        Args:
            path: the file to write; it ends with `.nii` or `.nii.gz`.

        Raises:
            InputError: "suffix" if the path has another suffix; "output-is-input" if it is the image itself.
        """
        require_no_input([Path(path)], identities(files_of(self.study)), "choose another name")
        write_mask(self.prediction.mask, self.study, path)


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """The networks of a run, or of an ensemble, ready to segment. `load` makes it.

    Attributes:
        model: the networks and the settings of the pipeline.
        memory_bytes: memory limit of a forward pass.
        tta: test-time augmentation: "none", "flips" or "turns".
        slice_axis: world axis along which NIfTI volumes are sliced; None: the third axis of the file.
        expected: what the run expects of its studies, for the quality control.
        convention: what its masks count papillary muscles to, "cavity" or "myocardium"; "" if it is not known.
    """

    model: Model
    memory_bytes: int = MEMORY_BYTES
    tta: str = "none"
    slice_axis: SliceAxis | None = None
    expected: Expectations = NO_EXPECTATIONS
    convention: str = ""

    def __repr__(self) -> str:
        """Names the classes, in one line; the arrays of the networks would fill pages."""
        return f"Segmenter({', '.join(self.classes[1:])})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index; 0 is the background."""
        return self.model.classes

    def predict(
        self,
        source: Any,
        *,
        spacing_mm: Sequence[float] | None = None,
        third_axis: ThirdAxis = "slice",
        series: str | int | None = None,
        repeats: str = "last",
        incomplete: bool = False,
        basal: str = SCMR,
        slices: str | tuple[int, int] | None = None,
    ) -> Result:
        """Segments a file, an image or an array.

        Args:
            source: a NIfTI, NRRD, MetaImage, Analyze, LVQuan19 .mat or DICOM file, a folder that holds one study, or
                an image of nibabel or SimpleITK; or an array (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W), with rows
                H before columns W. An array of nibabel's `get_fdata()` has its axes in reverse order: pass the image.
            spacing_mm: the distances between slices, rows and columns in mm. An array needs them; for an image, and for
                a NIfTI, NRRD, MetaImage or Analyze file, they replace those in the header.
            third_axis: "slice" or "time", the meaning of the third axis of a 3D file, or of the first axis of a 3D
                array.
            series: number or UID of the DICOM series; by default the short-axis cine.
            repeats: "last" or "first": which acquisition to use if a DICOM slice was acquired more than once.
            incomplete: whether to read a DICOM stack in which single slices or frames are missing.
            basal: which slices of a short-axis heart count: "scmr", those of the rule of the SCMR, or "all".
            slices: the first and the last slice that count, from 1, such as (2, 11) or "2-11"; they overrule `basal`.

        Raises:
            InputError: the file or array cannot be used; its axes or its spacing are in an impossible order
                ("axis-order", "spacing"); the source does not hold exactly one study; `spacing_mm` is missing for an
                array, or was given for a DICOM or .mat file.
        """
        counting = counting_of(basal, slices)
        if third_axis not in ("slice", "time"):
            raise InputError("third-axis", f"third_axis is {third_axis!r}; choose 'slice' or 'time'")
        if isinstance(source, str | os.PathLike):
            study = self._read(Path(source), spacing_mm, third_axis, wanted(series, repeats, incomplete))
        elif is_image(source):
            study = self._of_image(source, spacing_mm, third_axis)
        else:
            study = study_of_array(source, spacing_mm, third_axis=third_axis, classes=self.classes)
        prediction = predict_study(study, self.model, memory_bytes=self.memory_bytes, tta=self.tta)
        prediction, count = leave_out(study, prediction, counting)
        mask = prediction.mask
        if is_image(source):
            mask = array_of(in_file(prediction.mask, study), source)
        elif study.source is None:
            mask = mask.reshape(np.shape(source))
        return Result(mask, self.classes, study, prediction, count, self.expected, self.convention)

    def _of_image(self, image: Any, spacing_mm: Sequence[float] | None, third_axis: ThirdAxis) -> Study:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.nii"
            save_image(image, path)
            study = self._read(path, spacing_mm, third_axis, DEFAULT)
        return dataclasses.replace(study, source=None)  # The file is gone; messages name the case.

    def _read(self, path: Path, spacing_mm: Sequence[float] | None, third_axis: ThirdAxis, dicom: Wanted) -> Study:
        refs = read_input(
            path,
            third_axis=third_axis,
            classes=self.classes,
            slice_axis=self.slice_axis,
            spacing_mm=spacing_mm,
            dicom=dicom,
        )
        if len(refs) != 1:
            raise InputError(
                "several-studies",
                f"{path}: has {len(refs)} studies; pass one, name a DICOM series, or use --mode predict",
            )
        return refs[0].load()


@dataclasses.dataclass(frozen=True)
class Measured:
    """The measurements of a mask.

    Attributes:
        mask: (T, Z, H, W) uint8 class indices on the grid of the image.
        classes: names of the classes by index; 0 is the background.
        study: the study with the image.
        review: all indices and findings.
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    study: Study
    review: Review

    @property
    def indices(self) -> dict[str, float]:
        """The clinical indices that are known, by name with unit, such as `lv_ef_percent`; see docs/indices.md."""
        return self.review.numbers

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong or unusual, and where; empty if nothing is."""
        return self.review.findings

    @property
    def verdict(self) -> str:
        """ "good", "check" or "reject"."""
        return self.review.verdict


def measure(
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    labels: Mapping[str, int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    third_axis: ThirdAxis = "slice",
) -> Measured:
    """Measures the mask of a study, whoever drew it; see docs/correct.md.

    Args:
        image: the file of the image, or a folder that holds one study.
        mask: the file of its mask, or files `CASE_frameNN` of its frames.
        labels: the label value of each structure, such as {"rv": 1, "myocardium": 2, "cavity": 3}; by default, the
            names in the mask's file or beside it.
        spacing_mm: the distances between slices, rows and columns in mm; they replace those in the headers.
        third_axis: "slice" or "time", the meaning of the third axis of a 3D file.

    Raises:
        InputError: a file cannot be used; the labels are not known; or the grid of the mask is not that of the image.
    """
    from foanet_jax.jobs.studies.measurement import measure_one  # It imports the pages, which `load` does not need.

    words = [f"{name}:{value}" for name, value in (labels or {}).items()]
    study, drawn, review = measure_one(Path(image), mask, labels=words, third_axis=third_axis, spacing_mm=spacing_mm)
    return Measured(drawn, study.classes, study, review)


def study_of_array(
    array: np.ndarray, spacing_mm: Sequence[float] | None, *, third_axis: ThirdAxis, classes: tuple[str, ...]
) -> Study:
    """Makes an unlabelled study from an array.

    Args:
        array: (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W).
        spacing_mm: distances between slices, rows and columns in mm.
        third_axis: "slice" or "time", the meaning of the first axis of a 3D array.
        classes: names of the classes by index.

    Raises:
        InputError: the shape, the values or the spacing cannot be used.
    """
    if spacing_mm is None:
        raise InputError("spacing", "spacing_mm is missing; pass the distances between slices, rows and columns in mm")
    spacing = given_spacing(spacing_mm)
    voxels = _real_numbers(array)
    if not 2 <= voxels.ndim <= 4:
        raise InputError(
            "shape", f"the array has shape {voxels.shape}; pass (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W)"
        )
    if voxels.ndim == 3 and third_axis == "time":
        voxels = voxels[:, None]
    voxels = voxels.reshape((1,) * (4 - voxels.ndim) + voxels.shape)
    if voxels.size:
        _require_possible_axes(voxels, np.shape(array), spacing)
    study = validate_study(Study("array", "array", voxels, spacing, classes))
    return dataclasses.replace(study, affine=np.diag([*reversed(spacing), 1.0]))


def _require_possible_axes(voxels: np.ndarray, shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> None:
    """Raises InputError "axis-order" or "spacing" if the axes of an array or its spacing are in a wrong order.

    Args:
        voxels: (T, Z, H, W).
        shape: the shape of the array that the user gave.
        spacing_mm: the spacing that the user gave.
    """
    expected = "expected (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W)"
    reverse = f"array.transpose({', '.join(map(str, reversed(range(len(shape)))))})"
    if is_cut_across(voxels.shape):
        axis = len(shape) - 2 + int(voxels.shape[3] <= voxels.shape[2])
        mended = reverse if axis == len(shape) - 1 or len(shape) == 4 else f"np.moveaxis(array, {axis}, 0)"
        raise InputError(
            "axis-order",
            f"the array has shape {shape}: {max(voxels.shape[:2])} images of {voxels.shape[2]} × {voxels.shape[3]} px, "
            f"which no heart has; {expected}: pass {mended} (nibabel's get_fdata() gives the axes in reverse order)",
        )
    if has_frames_for_slices(voxels):
        raise InputError(
            "axis-order",
            f"the array has shape {shape}, but its second axis is time: images change less along it than along the "
            f"first, and the last is as the first; {expected}: pass array.swapaxes(0, 1)",
        )
    if has_oblong_pixels(spacing_mm):
        slice_mm, row, column = spacing_mm
        right = (row, slice_mm, column) if row > column else (column, row, slice_mm)
        raise InputError(
            "spacing",
            f"spacing_mm is {spacing_mm}, with pixels of {row:g} × {column:g} mm; expected the distances of slices, "
            f"rows and columns: pass spacing_mm=({', '.join(f'{side:g}' for side in right)}), and for an array of "
            f"nibabel's get_fdata() {reverse}",
        )
    require_possible_field(voxels.shape, spacing_mm, name="array", remedy="pass spacing_mm in mm")


def _real_numbers(array: np.ndarray) -> np.ndarray:
    """Returns an array of any integer or float type, in any byte order, as float32."""
    try:
        given = np.asanyarray(array)
    except ValueError as error:
        raise InputError("array", f"the array must be one block of real numbers: {error}") from None
    if np.ma.is_masked(given):
        raise InputError("array", "the array is masked; fill the masked values first, such as with array.filled(0)")
    remedies = {"c": "pass its magnitude, np.abs(array)", "b": "pass the image, not a mask"}
    if given.dtype.kind not in "iuf":
        remedy = remedies.get(given.dtype.kind, "convert it, such as with array.astype(np.float32)")
        raise InputError("array", f"the array has the type {given.dtype}; voxels must be real numbers: {remedy}")
    # Values beyond the range of float32 become infinite, and `validate_study` refuses infinite values.
    with np.errstate(over="ignore"):
        return np.asarray(given, np.float32)


def load(*checkpoints: str | os.PathLike[str]) -> Segmenter:
    """Loads the networks of a run, or of several runs as an ensemble, from checkpoints or weights files.

    Args:
        checkpoints: weights files, workdirs of trainings, or folders that contain workdirs, see `find_runs`. Without
            any, the weights in the package are loaded.

    Raises:
        InputError: there are no checkpoints, or the runs cannot form an ensemble.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs its options at every start.
    runs = find_runs([Path(checkpoint) for checkpoint in checkpoints] or [default_weights()])
    description = load_description(runs[0])
    facts, expected = describe_run(description), expectations(runs, description)
    return Segmenter(load_model(runs), facts.memory_bytes, facts.tta, facts.slice_axis, expected, facts.convention)
