"""Writes studies in the layouts of the data sets and as DICOM, for phantoms and for tests."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from contourpy import contour_generator
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat
from scipy import ndimage

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.readers.mmwhs2017 import LABEL_VALUES
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError


def write_lvquan19(study: Study, folder: str | os.PathLike[str], index: int) -> Path:
    """Writes patient<index>.mat in the layout of LVQuan19.

    The arrays image, endo and epi have the shape (H, W, T), pix_spacing is in mm per pixel, and areas (2, T) are the
    areas of cavity and myocardium in mm², counted from the masks. dims, rwt and lv_phase are left out, because masks
    alone do not define them. The layout has no slice distance and no affine.

    Args:
        study: the study.
        folder: where to write.
        index: number of the patient.

    Returns:
        The path of the file.

    Raises:
        InputError: the study is not a labelled cine of one slice with LV_CLASSES.
    """
    labels = _labels(study, LV_CLASSES)
    if study.voxels.shape[1] != 1:
        raise InputError("layout", f"{study.name}: has {study.voxels.shape[1]} slices; a file of LVQuan19 holds one")
    _, row_mm, column_mm = study.spacing_mm
    cavity = labels == LV_CLASSES.index("cavity")
    myocardium = labels == LV_CLASSES.index("myocardium")
    areas = np.stack([part.sum(axis=(1, 2, 3)) * row_mm * column_mm for part in (cavity, myocardium)])
    content = {
        "image": np.moveaxis(study.voxels[:, 0], 0, 2),
        "endo": np.moveaxis(cavity[:, 0], 0, 2).astype(np.uint8),
        "epi": np.moveaxis((cavity | myocardium)[:, 0], 0, 2).astype(np.uint8),
        "pix_spacing": row_mm if row_mm == column_mm else np.array([[row_mm, column_mm]]),
        "areas": areas,
    }
    path = Path(folder) / f"patient{index}.mat"
    with atomic_path(path) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)
    return path


def write_mmwhs2017(study: Study, folder: str | os.PathLike[str], number: int) -> tuple[Path, Path]:
    """Writes mr_train_<number>_image.nii.gz and mr_train_<number>_label.nii.gz on the study's own grid.

    The reader reorients volumes to RAS+. A study is read back on the same grid if its axes have this orientation.

    Args:
        study: the study.
        folder: where to write.
        number: number of the case.

    Returns:
        The paths of image and labels.

    Raises:
        InputError: the study is not a labelled volume of one frame with WHOLE_HEART_CLASSES.
    """
    labels = _labels(study, WHOLE_HEART_CLASSES)
    _require_one_frame(study, "MM-WHS2017")
    image_path, label_path = (Path(folder) / f"mr_train_{number}_{kind}.nii.gz" for kind in ("image", "label"))
    values = np.array(LABEL_VALUES, np.int16)[labels]
    write_nifti(study.voxels, affine=study.affine, spacing_mm=study.spacing_mm, path=image_path)
    write_nifti(values, affine=study.affine, spacing_mm=study.spacing_mm, path=label_path)
    return image_path, label_path


def write_acdc(studies: Sequence[Study], folder: str | os.PathLike[str]) -> Path:
    """Writes the two studies of one patient in the layout of ACDC.

    The patient must be named patient<digits> and the cases <patient>_frame<digits>. Info.cfg holds ED, ES and, if it is
    known, the group; it has no height, weight or number of frames, because a study does not have them.

    Args:
        studies: end diastole and end systole, in this order.
        folder: where to write.

    Returns:
        The folder of the patient.

    Raises:
        InputError: there are not two labelled studies of one frame with ACDC_CLASSES, or their names are different.
    """
    if len(studies) != 2:
        raise InputError(
            "layout", f"got {len(studies)} studies; ACDC has two per patient, end diastole and end systole"
        )
    patient, group = studies[0].patient, studies[0].group
    frames = []
    for study in studies:
        _labels(study, ACDC_CLASSES)
        _require_one_frame(study, "ACDC")
        match = re.fullmatch(r"(patient\d+)_frame(\d{2,4})", study.case)
        if match is None or not match[1] == study.patient == patient or study.group != group:
            raise InputError(
                "layout",
                f"{study.name}: the case is {study.case!r}, the patient {study.patient!r}, the group {study.group}; "
                "expected a case patient<digits>_frame<digits> and the same patient and group for both studies",
            )
        frames.append(int(match[2]))
    place = Path(folder) / patient
    for study in studies:
        for data, ending in ((study.voxels, ""), (_labels(study, ACDC_CLASSES), "_gt")):
            path = place / f"{study.case}{ending}.nii.gz"
            write_nifti(data, affine=study.affine, spacing_mm=study.spacing_mm, path=path)
    lines = [f"ED: {frames[0]}", f"ES: {frames[1]}", *([f"Group: {group}"] if group else [])]
    # This file is written last, because a folder with it counts as a complete patient.
    with atomic_path(place / "Info.cfg") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def write_folder(studies: Sequence[Study], folder: str | os.PathLike[str]) -> Path:
    """Writes a data set in this project's own layout: images/CASE.nii.gz, labels/CASE.nii.gz and dataset.json.

    A study with several frames becomes a 4D file. Label values are the class indices.

    Args:
        studies: the labelled studies.
        folder: where to write.

    Returns:
        The path of dataset.json.

    Raises:
        InputError: there are no studies, or they have no labels, different classes, or a patient with another name
            than the case.
    """
    if not studies:
        raise InputError("layout", "there are no studies to write; pass at least one")
    classes = studies[0].classes
    for study in studies:
        _labels(study, classes)
        if study.case != study.patient:
            raise InputError(
                "layout",
                f"{study.name}: the case is {study.case!r} but the patient {study.patient!r}; this layout holds one "
                "study per patient, and both must have the same name",
            )
    for study in studies:
        for data, kind in ((study.voxels, "images"), (_labels(study, classes), "labels")):
            path = Path(folder) / kind / f"{study.case}.nii.gz"
            write_nifti(data, affine=study.affine, spacing_mm=study.spacing_mm, path=path)
    description = {
        "format": "foanet",
        "classes": {name: index for index, name in enumerate(classes)},
        "images": "images/{case}.nii.gz",
        "labels": "labels/{case}.nii.gz",
        "groups": {study.patient: study.group for study in studies if study.group},
    }
    path = Path(folder) / "dataset.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return path


def _labels(study: Study, classes: tuple[str, ...]) -> np.ndarray:
    if study.labels is None or study.classes != classes:
        raise InputError(
            "layout",
            f"{study.name}: has {'no labels, classes' if study.labels is None else 'the classes'} {study.classes}; "
            f"this layout needs labels of {classes}",
        )
    return study.labels


def _require_one_frame(study: Study, layout: str) -> None:
    if study.voxels.shape[0] != 1:
        raise InputError(
            "layout", f"{study.name}: has {study.voxels.shape[0]} frames; a file of {layout} holds one volume"
        )


def write_dicom(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes a study as uncompressed DICOM MR images 1.dcm, 2.dcm, …, one for each frame of each slice.

    The images are ordered by slice and then by frame, as scanners do. 16-bit integers are stored unchanged. Other
    voxels are rescaled to 16 bits, with an error of at most half of (maximum − minimum) / 65535. Directions and origin
    come from the affine, the distances from `spacing_mm`. UIDs are computed from the case, under the root 2.999, which
    is reserved for examples. Readers sort slices along their normal; if the slices of the study run in the opposite
    direction, they are read back in reverse order.

    Args:
        study: the study.
        folder: where to write.

    Returns:
        The paths of the files.

    Raises:
        InputError: rows, columns and slices of the affine are not perpendicular.
    """
    directions = study.affine[:3, :3] / np.linalg.norm(study.affine[:3, :3], axis=0)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise InputError(
            "layout",
            f"{study.name}: the affine is sheared; in DICOM, rows, columns and slices are perpendicular: resample the "
            "study",
        )
    slice_mm, row_mm, column_mm = study.spacing_mm
    to_lps = np.diag([-1.0, -1.0, 1.0])
    along, down, through = (to_lps @ directions).T
    origin = to_lps @ study.affine[:3, 3]
    stored, slope, intercept = _as_int16(study.voxels)
    frames, slices = study.voxels.shape[:2]
    examination, series, reference = (_uid(study.case, kind) for kind in ("study", "series", "frame of reference"))
    paths = []
    for z, t in np.ndindex(slices, frames):
        number = z * frames + t + 1
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, _uid(study.case, f"image {number}")
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = examination, series, reference
        image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = study.patient, "", "", ""
        image.StudyDate, image.StudyTime, image.AccessionNumber, image.StudyID = "", "", "", ""
        image.ReferringPhysicianName, image.PositionReferenceIndicator, image.Manufacturer = "", "", ""
        image.Modality, image.ImageType = "MR", ["DERIVED", "SECONDARY", "OTHER"]
        image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "RM", "NONE", ""
        image.MRAcquisitionType, image.EchoTime, image.EchoTrainLength = "2D", None, None
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.TemporalPositionIdentifier, image.NumberOfTemporalPositions = t + 1, frames
        image.TriggerTime = DSfloat(1000.0 * t * (study.frame_seconds or 1 / frames), auto_format=True)
        image.PixelSpacing = [DSfloat(mm, auto_format=True) for mm in (row_mm, column_mm)]
        image.SliceThickness = image.SpacingBetweenSlices = DSfloat(slice_mm, auto_format=True)
        image.ImageOrientationPatient = [DSfloat(value, auto_format=True) for value in (*along, *down)]
        position = origin + z * slice_mm * through
        image.ImagePositionPatient = [DSfloat(value, auto_format=True) for value in position]
        image.Rows, image.Columns = study.voxels.shape[2:]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, intercept, "US"
        image.PixelData = stored[t, z].astype("<i2").tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.ImplementationClassUID = _uid("foanet-jax", "implementation")
        path = Path(folder) / f"{number}.dcm"
        with atomic_path(path) as temporary:
            image.save_as(temporary, enforce_file_format=True)
        paths.append(path)
    return paths


def write_sunnybrook(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    patient: str,
    original: str,
    ed_frame: int = 0,
    es_frame: int | None = None,
) -> Path:
    """Adds a patient to a folder in the layout of Sunnybrook.

    It writes the images dicoms/<patient>/N.dcm (see `write_dicom`), contours of all slices with a cavity to
    contourfiles/<original>/{i,o}-contours (inner and outer at end diastole, inner at end systole), and a line in
    link.csv. Contours run halfway between the pixels inside and outside a mask, so that reading restores the masks.

    Args:
        study: a labelled cine or stack with LV_CLASSES.
        folder: folder of the data set.
        patient: id of the images, such as SCD0000101.
        original: id of the contours, such as SC-HF-I-1.
        ed_frame: frame of end diastole.
        es_frame: frame of end systole; None: no contours at end systole.

    Returns:
        The folder of the images.

    Raises:
        InputError: the study has other classes or no such frame, or a mask has several components.
    """
    labels = _labels(study, LV_CLASSES)
    frames = study.voxels.shape[0]
    for frame in (ed_frame, *([] if es_frame is None else [es_frame])):
        if not 0 <= frame < frames:
            raise InputError("layout", f"{study.name}: has no frame {frame}; choose one from 0 to {frames - 1}")
    files: dict[Path, np.ndarray] = {}
    phases = [(ed_frame, "io"), *([] if es_frame is None else [(es_frame, "i")])]
    for frame, kinds in phases:
        for z, plane in enumerate(labels[frame]):
            cavity = plane == LV_CLASSES.index("cavity")
            for kind in kinds if cavity.any() else "":
                outline = _outline(cavity if kind == "i" else plane > 0, study)
                name = f"IM-0001-{z * frames + frame + 1:04d}-{kind}contour-manual.txt"
                files[Path(folder) / "contourfiles" / original / f"{kind}-contours" / name] = outline
    for path, outline in files.items():
        with atomic_path(path) as temporary:
            # The data set counts pixels from 1.
            np.savetxt(temporary, outline + 1, fmt="%.2f")
    place = Path(folder) / "dicoms" / patient
    write_dicom(study, place)
    link = Path(folder) / "link.csv"
    lines = link.read_text(encoding="utf-8").splitlines() if link.exists() else ["patient_id,original_id"]
    with atomic_path(link) as temporary:
        temporary.write_text("\n".join([*lines, f"{patient},{original}"]) + "\n", encoding="utf-8")
    return place


def _as_int16(voxels: np.ndarray) -> tuple[np.ndarray, DSfloat, DSfloat]:
    """Returns stored values, slope and intercept; the latter two rounded to the 16 characters of a DICOM number."""
    low, high = float(voxels.min()), float(voxels.max())
    if low >= -(2**15) and high < 2**15 and (voxels == np.rint(voxels)).all():
        return voxels.astype(np.int16), DSfloat(1), DSfloat(0)
    # The slope is rounded upwards, so that the largest value fits into 16 bits.
    slope = DSfloat(max((high - low) / 65535 * (1 + 1e-9), 1e-30), auto_format=True)
    intercept = DSfloat((low + high) / 2, auto_format=True)
    stored = np.rint((voxels.astype(np.float64) - intercept) / slope)
    return np.clip(stored, -(2**15), 2**15 - 1).astype(np.int16), slope, intercept


def _uid(case: str, what: str) -> UID:
    return generate_uid(prefix="2.999.", entropy_srcs=[case, what])


def _outline(mask: np.ndarray, study: Study) -> np.ndarray:
    """Returns (N, 2) column and row of the outline of a mask, whose holes are filled."""
    # The mask is padded, so that its outline is closed even if it touches the border of the image.
    lines = contour_generator(z=np.pad(ndimage.binary_fill_holes(mask).astype(float), 1)).lines(0.5)
    if len(lines) != 1:
        raise InputError(
            "layout", f"{study.name}: a mask has {len(lines)} components, but a contour encloses one; remove the others"
        )
    return np.asarray(lines[0], float) - 1
