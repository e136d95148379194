"""Masks out as DICOM segmentations."""

import os
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from foanet_jax import __version__
from foanet_jax.data.dicom.files import quiet_pydicom, read_dataset
from foanet_jax.data.dicom.reader import DicomSource
from foanet_jax.data.study import Study
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError

# Tags that the standard of segmentations wants at least empty, and tags that they can be without.
_DATE_TAGS = ("StudyDate", "StudyTime", "PatientBirthDate")
_EMPTIED_TAGS = (*_DATE_TAGS, "PatientName", "PatientID", "PatientSex", "AccessionNumber", "StudyID")
_PATIENT_TAGS = (
    "ReferringPhysicianName",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "Occupation",
    "PatientComments",
    "AdditionalPatientHistory",
    "IssuerOfPatientID",
)
_ANATOMY = {
    "myocardium": ("74281007", "SCT", "Myocardium"),
    "cavity": ("87878005", "SCT", "Left ventricle"),
    "left ventricle": ("87878005", "SCT", "Left ventricle"),
    "right ventricle": ("53085002", "SCT", "Right ventricle"),
    "left atrium": ("82471001", "SCT", "Left atrium"),
    "right atrium": ("73829009", "SCT", "Right atrium"),
    "ascending aorta": ("54247002", "SCT", "Ascending aorta"),
    "pulmonary artery": ("81040000", "SCT", "Pulmonary artery"),
}


def write_mask_dicom_seg(
    mask: np.ndarray, study: Study, path: str | os.PathLike[str], *, keep_patient: bool = False
) -> list[Path]:
    """Writes a mask as DICOM segmentations of the study's source images, one binary segment a class.

    One object holds one frame in time: planes of an object must not lie on each other, so that a cine takes one for
    each of its frames, `<stem>_frame01.dcm` and so on, all of one series. Frames and slices with nothing in them are
    left out. Of the source's tags the UIDs of study, series and images stay, because references need them.

    Args:
        mask: (T, Z, H, W) uint8, the shape of `study.voxels`.
        study: read from DICOM files that are still there.
        path: the file to write, whole or not at all; of a cine, what its files are named after.
        keep_patient: copy the patient's name, id, birth date and sex, the study's date and accession number too, as an
            archive wants them; by default they are left empty.

    Returns:
        The files that were written.

    Raises:
        InputError: highdicom is not installed, the mask does not fit the study or has nothing in it, or the study
            is not from DICOM.
    """
    path = Path(path)
    if mask.dtype != np.uint8 or mask.shape != study.voxels.shape:
        raise InputError(
            "shape-mismatch",
            f"{study.name}: a mask of {mask.dtype} {mask.shape} for voxels {study.voxels.shape}; "
            "pass uint8 of the voxels' shape (T, Z, H, W)",
        )
    if not isinstance(study.header, DicomSource):
        raise InputError("not-dicom", f"{study.name}: not read from DICOM files; write the mask as NIfTI")
    if study.header.frame_numbers is not None:
        raise InputError(
            "segmentation",
            f"{study.name}: of multi-frame images no DICOM segmentation can be made; write the mask as NIfTI",
        )
    if int(mask.max()) >= len(study.classes) or not mask.any():
        raise InputError(
            "unknown-label",
            f"{study.name}: a mask with values up to {int(mask.max())} for classes {study.classes}; a segmentation "
            "needs some of them and no others",
        )
    if path.is_dir():
        raise InputError("output-path", f"{path}: a folder is in the place of the file; choose another name")
    try:
        import highdicom
    except ImportError:
        raise InputError("missing-package", "DICOM segmentations need highdicom: pip install highdicom") from None
    code = highdicom.sr.CodedConcept
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=code(*_ANATOMY.get(name, ("80891009", "SCT", "Heart"))),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name="FOANet", version=__version__, family=code("123110", "DCM", "Artificial Intelligence")
            ),
        )
        for number, name in enumerate(study.classes[1:], 1)
    ]
    frames = mask.shape[0]
    written, series = [], highdicom.UID()
    with quiet_pydicom():
        for t in np.flatnonzero(mask.any(axis=(1, 2, 3))).tolist():
            datasets = [read_dataset(file) for file in study.header.files[t]]
            for dataset in datasets:
                _make_like(dataset, datasets[0], keep_patient=keep_patient)
            try:
                segmentation = highdicom.seg.Segmentation(
                    source_images=datasets,
                    pixel_array=mask[t],
                    segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                    segment_descriptions=segments,
                    series_instance_uid=series,
                    series_number=1,
                    sop_instance_uid=highdicom.UID(),
                    instance_number=t + 1,
                    manufacturer="foanet-jax",
                    manufacturer_model_name="FOANet",
                    software_versions=__version__,
                    device_serial_number="0",
                    series_description="FOANet",
                )
            except (AttributeError, TypeError, ValueError) as error:
                # Of highdicom, on tags that an image lacks; its texts name tags, not their values.
                raise InputError(
                    "segmentation",
                    f"{study.name}: its images do not do for a DICOM segmentation ({error}); write the mask as NIfTI",
                ) from None
            name = f"{path.stem}_frame{t + 1:0{len(str(frames))}d}{path.suffix}" if frames > 1 else path.name
            with atomic_path(path.with_name(name)) as temporary:
                segmentation.save_as(temporary)
            written.append(path.with_name(name))
    return written


def _make_like(dataset: Dataset, first: Dataset, *, keep_patient: bool) -> None:
    """Makes a source image fit the others for highdicom, which wants one frame of reference and one orientation."""
    for tag in ("FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing"):
        if tag in first:
            setattr(dataset, tag, getattr(first, tag))
    if keep_patient:
        for tag in _DATE_TAGS:
            # Anonymisers leave dates such as 20120000, which highdicom refuses.
            try:
                (TM if tag.endswith("Time") else DA)(str(dataset.get(tag) or ""))
            except ValueError:
                setattr(dataset, tag, None)
        return
    for tag in _PATIENT_TAGS:
        if tag in dataset:
            delattr(dataset, tag)
    for tag in _EMPTIED_TAGS:
        setattr(dataset, tag, None)
