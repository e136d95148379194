"""The method as a Python object: `foanet_jax.load(RUN).predict(FILE_OR_ARRAY)`."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.inputs import files_of, read_input
from foanet_jax.data.nifti.header import ThirdAxis
from foanet_jax.data.nifti.orientation import SliceAxis
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.study import Study, validate_study
from foanet_jax.image.boxes import Box
from foanet_jax.jobs.experiment.model import describe_run, find_runs, load_description, load_model
from foanet_jax.pipeline import MEMORY_BYTES, Model, Prediction, predict_study
from foanet_jax.system.errors import InputError
from foanet_jax.system.overwriting import identities, require_no_input
from foanet_jax.training.weights import default_weights


@dataclasses.dataclass(frozen=True)
class Result:
    """A segmentation.

    Attributes:
        mask: uint8 class indices, in the shape of the array that was given, or (T, Z, H, W) of a file.
        classes: names of the classes by index; 0 is the background.
        study: what was segmented, with its spacing and, if it is a file, its place in the world.
        prediction: the pipeline's whole result, with the mask as (T, Z, H, W).
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    study: Study
    prediction: Prediction

    @property
    def box(self) -> Box:
        """The bounding box in which the study was segmented, in px."""
        return self.prediction.box

    @property
    def flags(self) -> tuple[str, ...]:
        """Warnings to read before trusting the mask, in words; empty where nothing odd was found."""
        return self.prediction.flags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask as NIfTI; of a file with that file's shape and affine, of a NIfTI file with its header.

        A file that is there is replaced, unless it is the one that was segmented.

        Args:
            path: ends in .nii or .nii.gz.

        Raises:
            InputError: "suffix" where the path ends otherwise; "output-is-input" where it is the image itself.
        """
        require_no_input([Path(path)], identities(files_of(self.study)), "choose another name")
        write_mask(self.prediction.mask, self.study, path)


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """Both networks of a run, ready to segment; made by `load`.

    Attributes:
        model: the networks and what the pipeline has to know of them.
        memory_bytes: what a forward pass may take.
        tta: test-time augmentation: "none", "flips" or "turns".
        slice_axis: axis of the world along which NIfTI volumes are sliced; None: as they are.
    """

    model: Model
    memory_bytes: int = MEMORY_BYTES
    tta: str = "none"
    slice_axis: SliceAxis | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index; 0 is the background."""
        return self.model.classes

    def predict(
        self,
        source: str | os.PathLike[str] | np.ndarray,
        *,
        spacing_mm: Sequence[float] | None = None,
        third_axis: ThirdAxis = "slice",
    ) -> Result:
        """Segments a file or an array.

        Args:
            source: a NIfTI, NRRD, MetaImage, Analyze, LVQuan19 .mat or DICOM file, a folder that holds one study, or
                an array (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W).
            spacing_mm: of an array, the distances between slices, rows and columns.
            third_axis: "slice" or "time", what the third axis of a 3D file, or the first of a 3D array, is.

        Raises:
            InputError: the file or array cannot be used, or there is not one study; an array comes without its
                spacing, or a file with one.
        """
        if third_axis not in ("slice", "time"):
            raise InputError("third-axis", f"third_axis is {third_axis!r}; choose 'slice' or 'time'")
        if isinstance(source, str | os.PathLike):
            study = self._read(Path(source), spacing_mm, third_axis)
            shape: tuple[int, ...] = study.voxels.shape
        else:
            study = study_of_array(source, spacing_mm, third_axis=third_axis, classes=self.classes)
            shape = np.shape(source)
        prediction = predict_study(study, self.model, memory_bytes=self.memory_bytes, tta=self.tta)
        return Result(prediction.mask.reshape(shape), self.classes, study, prediction)

    def _read(self, path: Path, spacing_mm: Sequence[float] | None, third_axis: ThirdAxis) -> Study:
        if spacing_mm is not None:
            raise InputError("spacing", f"{path}: a file tells its spacing; pass spacing_mm with arrays only")
        refs = read_input(path, third_axis=third_axis, classes=self.classes, slice_axis=self.slice_axis)
        if len(refs) != 1:
            raise InputError("several-studies", f"{path}: {len(refs)} studies; pass one, or use --mode predict")
        return refs[0].load()


def study_of_array(
    array: np.ndarray, spacing_mm: Sequence[float] | None, *, third_axis: ThirdAxis, classes: tuple[str, ...]
) -> Study:
    """The unlabelled study that an array of 2 to 4 dimensions holds.

    Raises:
        InputError: its shape, its values or the spacing cannot be used.
    """
    if spacing_mm is None:
        raise InputError("spacing", "spacing_mm is missing; pass the mm between slices, rows and columns")
    try:
        voxels = np.asarray(array, np.float32)
        spacing = tuple(float(value) for value in spacing_mm)
    except (TypeError, ValueError) as error:
        raise InputError("array", f"array and spacing_mm must be real numbers: {error}") from None
    if not 2 <= voxels.ndim <= 4:
        raise InputError(
            "shape", f"an array of shape {voxels.shape}; pass (H, W), (Z, H, W), (T, H, W) or (T, Z, H, W)"
        )
    if voxels.ndim == 3 and third_axis == "time":
        voxels = voxels[:, None]
    voxels = voxels.reshape((1,) * (4 - voxels.ndim) + voxels.shape)
    study = validate_study(Study("array", "array", voxels, spacing, classes))  # type: ignore[arg-type]  # their number
    return dataclasses.replace(study, affine=np.diag([*reversed(spacing), 1.0]))


def load(*checkpoints: str | os.PathLike[str]) -> Segmenter:
    """Both networks of a run, or of several that predict together, from their checkpoints or weights files.

    Args:
        checkpoints: weights files, workdirs of trainings, or folders that hold some, see `find_runs`; none: the
            weights that came with the package.

    Raises:
        InputError: there are no checkpoints, or the runs do not go together.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells its options at every start.
    runs = find_runs([Path(checkpoint) for checkpoint in checkpoints] or [default_weights()])
    facts = describe_run(load_description(runs[0]))
    return Segmenter(load_model(runs), facts.memory_bytes, facts.tta, facts.slice_axis)
