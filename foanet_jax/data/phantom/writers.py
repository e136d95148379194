"""Studies on disk in the layouts of the data sets, and as DICOM, for phantoms and for tests."""

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
    """Writes patient<index>.mat as LVQuan19 has them, and returns its path.

    image, endo and epi are (H, W, T), pix_spacing in mm a pixel, areas (2, T) of cavity and myocardium in mm²,
    counted from the masks. dims, rwt and lv_phase are left out: they do not follow from the masks without an
    angle of the septum and the definition of a phase. The slice distance and affine have no place in the layout.

    Raises:
        InputError: the study is not a labelled cine of one slice with LV_CLASSES.
    """
    labels = _labels(study, LV_CLASSES)
    if study.voxels.shape[1] != 1:
        raise InputError("layout", f"{study.name}: {study.voxels.shape[1]} slices; LVQuan19's files hold one")
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
    """Writes mr_train_<number>_image.nii.gz and _label.nii.gz on the study's own grid, and returns their paths.

    Reading reorients to RAS+, so that a study comes back on the same grid where its axes run that way.

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
    """Writes the studies at end diastole and end systole of one patient, in this order, and returns its folder.

    The patient is `patient` and digits, the cases are `<patient>_frame<number>`; Info.cfg gets ED, ES and,
    where it is known, the group, but no height, weight or number of frames, which a study does not know.

    Raises:
        InputError: not two labelled studies of one frame with ACDC_CLASSES, or of other names.
    """
    if len(studies) != 2:
        raise InputError("layout", f"{len(studies)} studies; ACDC has two a patient, end diastole and end systole")
    patient, group = studies[0].patient, studies[0].group
    frames = []
    for study in studies:
        _labels(study, ACDC_CLASSES)
        _require_one_frame(study, "ACDC")
        match = re.fullmatch(r"(patient\d+)_frame(\d{2,4})", study.case)
        if match is None or not match[1] == study.patient == patient or study.group != group:
            raise InputError(
                "layout",
                f"{study.name}: case {study.case!r} of {study.patient!r}, group {study.group}; expected "
                "patient<digits>_frame<digits>, with one patient and group for both studies",
            )
        frames.append(int(match[2]))
    place = Path(folder) / patient
    for study in studies:
        for data, ending in ((study.voxels, ""), (_labels(study, ACDC_CLASSES), "_gt")):
            path = place / f"{study.case}{ending}.nii.gz"
            write_nifti(data, affine=study.affine, spacing_mm=study.spacing_mm, path=path)
    lines = [f"ED: {frames[0]}", f"ES: {frames[1]}", *([f"Group: {group}"] if group else [])]
    # Last, because the folder counts as a patient's with it.
    with atomic_path(place / "Info.cfg") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def write_folder(studies: Sequence[Study], folder: str | os.PathLike[str]) -> Path:
    """Writes one's own data set, images/CASE.nii.gz, labels/CASE.nii.gz and dataset.json, and returns the last's path.

    A study of several frames becomes a 4D file. Label values are the indices of the classes.

    Raises:
        InputError: no studies, without labels, of different classes, or of patients who are not called by their case.
    """
    if not studies:
        raise InputError("layout", "no studies; a data set has at least one")
    classes = studies[0].classes
    for study in studies:
        _labels(study, classes)
        if study.case != study.patient:
            raise InputError(
                "layout", f"{study.name}: case {study.case!r} of {study.patient!r}; expected one study a patient"
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
            f"{study.name}: {'no labels' if study.labels is None else 'classes'} {study.classes}; "
            f"this layout holds labels of {classes}",
        )
    return study.labels


def _require_one_frame(study: Study, layout: str) -> None:
    if study.voxels.shape[0] != 1:
        raise InputError(
            "layout", f"{study.name}: {study.voxels.shape[0]} frames; {layout}'s files hold one volume each"
        )


def write_dicom(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes 1.dcm, 2.dcm, …, an uncompressed MR image for each frame of each slice, and returns their paths.

    Slice after slice, each with its frames, as scanners number them. Whole numbers of 16 bit stay as they are;
    other voxels are rescaled to 16 bit, exact to half of (highest − lowest) / 65535. The affine gives directions
    and origin, `spacing_mm` the distances. UIDs follow from the case and are under 2.999, which is for examples.
    Readers go along the normal of the slices: a study whose slices run against it comes back in reverse.

    Raises:
        InputError: rows, columns and slices of the affine are not at right angles.
    """
    directions = study.affine[:3, :3] / np.linalg.norm(study.affine[:3, :3], axis=0)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise InputError(
            "layout", f"{study.name}: a sheared affine; DICOM's rows, columns and slices are at right angles"
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
    """Adds a patient to a folder in Sunnybrook's layout, and returns the folder of its images.

    dicoms/<patient>/N.dcm as write_dicom has them, contourfiles/<original>/{i,o}-contours of the slices with a
    cavity, both at end diastole and the inner one at end systole, and a line in link.csv. Contours run along the
    midpoints between the pixels inside and outside of a mask, so that reading gives the masks back.

    Args:
        study: a labelled cine or stack with LV_CLASSES.
        folder: of the data set.
        patient: id of the images, as SCD0000101.
        original: id of the contours, as SC-HF-I-1.
        ed_frame: frame of end diastole.
        es_frame: frame of end systole; None writes no contours of it.

    Raises:
        InputError: the study has other classes, no such frame, or a mask in pieces.
    """
    labels = _labels(study, LV_CLASSES)
    frames = study.voxels.shape[0]
    for frame in (ed_frame, *([] if es_frame is None else [es_frame])):
        if not 0 <= frame < frames:
            raise InputError("layout", f"{study.name}: no frame {frame} among {frames}")
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
            # Counted from 1, as the data set has them.
            np.savetxt(temporary, outline + 1, fmt="%.2f")
    place = Path(folder) / "dicoms" / patient
    write_dicom(study, place)
    link = Path(folder) / "link.csv"
    lines = link.read_text(encoding="utf-8").splitlines() if link.exists() else ["patient_id,original_id"]
    with atomic_path(link) as temporary:
        temporary.write_text("\n".join([*lines, f"{patient},{original}"]) + "\n", encoding="utf-8")
    return place


def _as_int16(voxels: np.ndarray) -> tuple[np.ndarray, DSfloat, DSfloat]:
    """Stored values, slope and intercept, the latter as DICOM's 16 characters can tell them."""
    low, high = float(voxels.min()), float(voxels.max())
    if low >= -(2**15) and high < 2**15 and (voxels == np.rint(voxels)).all():
        return voxels.astype(np.int16), DSfloat(1), DSfloat(0)
    # Upwards, so that the highest value stays within 16 bit after rounding.
    slope = DSfloat(max((high - low) / 65535 * (1 + 1e-9), 1e-30), auto_format=True)
    intercept = DSfloat((low + high) / 2, auto_format=True)
    stored = np.rint((voxels.astype(np.float64) - intercept) / slope)
    return np.clip(stored, -(2**15), 2**15 - 1).astype(np.int16), slope, intercept


def _uid(case: str, what: str) -> UID:
    return generate_uid(prefix="2.999.", entropy_srcs=[case, what])


def _outline(mask: np.ndarray, study: Study) -> np.ndarray:
    """(N, 2) column and row of the line around a mask, without its holes."""
    # Padded, so that the line closes where the mask touches the border of the image.
    lines = contour_generator(z=np.pad(ndimage.binary_fill_holes(mask).astype(float), 1)).lines(0.5)
    if len(lines) != 1:
        raise InputError("layout", f"{study.name}: a mask in {len(lines)} pieces; a contour goes around one")
    return np.asarray(lines[0], float) - 1
