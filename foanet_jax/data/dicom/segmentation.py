"""Writes masks as DICOM segmentations."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from foanet_jax import __version__
from foanet_jax.data.dicom.files import quiet_pydicom
from foanet_jax.data.dicom.joining import join_frames
from foanet_jax.data.dicom.reader import DicomSource
from foanet_jax.data.dicom.references import FrameOf, refer_to_frames, source_images
from foanet_jax.data.study import Study
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError

# The standard requires the tags in _EMPTIED_TAGS, but they may be empty. The tags in _PATIENT_TAGS are optional.
_DATE_TAGS = ("StudyDate", "StudyTime", "PatientBirthDate")
_EMPTIED_TAGS = (*_DATE_TAGS, "PatientSex", "AccessionNumber", "StudyID")
# Archives and viewers file a segmentation by these tags.
_FILED_BY = ("PatientName", "PatientID")
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
# References to objects of an archive's own book-keeping, which are never exported with the images.
_REFERENCES = ("ReferencedStudySequence", "ReferencedPatientSequence", "ReferencedPerformedProcedureStepSequence")
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
    mask: np.ndarray,
    study: Study,
    path: str | os.PathLike[str],
    *,
    keep_patient: bool = False,
    whole_cine: bool = False,
    colours: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes a mask as DICOM segmentations of the study's source images, with one binary segment per class.

    By default, an object contains one frame in time, because viewers that sort planes by position, such as 3D Slicer,
    do not support several planes at one position. A cine has one object per frame, `<stem>_frame01.dcm` and so on. All
    of them are in one series, even if the slices of the cine are in several. With `whole_cine`, one object contains all
    frames of a cine, see `join_frames`; if its slices are in several series, there is still one object per frame.

    Empty frames, empty slices and interpolated slices are left out. The patient's name and id are kept, because
    archives file the objects by them. The UIDs of study, series and images are kept, because references need them.

    Args:
        mask: (T, Z, H, W) uint8, the shape of `study.voxels`.
        study: a study from DICOM files that still exist.
        path: the file, which is written atomically; for a cine, the names of its files are made from it.
        keep_patient: whether the patient's birth date and sex and the study's date and accession number are copied
            too; by default they are left empty.
        whole_cine: whether a cine of one series becomes one object.
        colours: recommended colour of each class, as #rrggbb.

    Returns:
        The files that were written.

    Raises:
        InputError: highdicom is not installed, the mask does not fit the study or is empty, or the study is not from
            DICOM.
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
            display_color=_lab(colours[name]) if colours and name in colours else None,
        )
        for number, name in enumerate(study.classes[1:], 1)
    ]
    frames = mask.shape[0]
    planes = [z for z in range(mask.shape[1]) if z not in study.header.made]
    made: dict[int, Dataset] = {}
    frame_of: FrameOf = {}
    slice_of: dict[str, int] = {}
    first: Dataset | None = None
    several = False
    written, series = [], highdicom.UID()
    with quiet_pydicom():
        for t in np.flatnonzero(mask[:, planes].any(axis=(1, 2, 3))).tolist():
            files, numbers = study.header.files[t], study.header.frame_numbers
            datasets, its_frame_of = source_images(
                [files[z] for z in planes], [numbers[t][z] for z in planes] if numbers else None
            )
            frame_of |= its_frame_of
            series_of = {str(dataset.SOPInstanceUID): dataset.SeriesInstanceUID for dataset in datasets}
            first = datasets[0] if first is None or not whole_cine else first
            several = several or {str(uid) for uid in series_of.values()} != {str(first.SeriesInstanceUID)}
            slice_of |= {str(dataset.SOPInstanceUID): z for z, dataset in zip(planes, datasets, strict=True)}
            for dataset in datasets:
                _make_like(dataset, first, keep_patient=keep_patient)
            try:
                segmentation = highdicom.seg.Segmentation(
                    source_images=datasets,
                    pixel_array=mask[t, planes],
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
                # highdicom raises these errors for missing tags. Its texts name tags, and rarely their values.
                told = str(error)
                for value in filter(None, (str(datasets[0].get(tag) or "") for tag in _FILED_BY)):
                    told = told.replace(value, "…")
                raise InputError(
                    "segmentation",
                    f"{study.name}: its images do not do for a DICOM segmentation ({told}); write the mask as NIfTI",
                ) from None
            _name_series(segmentation, series_of)
            made[t] = segmentation
            if not whole_cine:
                written += _saved(made, frame_of, path, frames)
                made = {}
        if len(made) > 1 and not several:
            made = {0: join_frames(made, slice_of)}
            frames = 1
        return written + _saved(made, frame_of, path, frames)


def _saved(segmentations: Mapping[int, Dataset], frame_of: FrameOf, path: Path, frames: int) -> list[Path]:
    """Writes segmentations of frames; those of a cine have the number of the frame in their names."""
    written = []
    for t, segmentation in segmentations.items():
        refer_to_frames(segmentation, frame_of)
        name = f"{path.stem}_frame{t + 1:0{len(str(frames))}d}{path.suffix}" if frames > 1 else path.name
        with atomic_path(path.with_name(name)) as temporary:
            segmentation.save_as(temporary)
        written.append(path.with_name(name))
    return written


def _lab(colour: str) -> Any:
    """Converts a colour #rrggbb to the form that DICOM uses."""
    from highdicom.color import CIELabColor

    return CIELabColor.from_rgb(*bytes.fromhex(colour.removeprefix("#")))


def _name_series(segmentation: Dataset, series_of: Mapping[str, str]) -> None:
    """Sorts the images that a segmentation refers to into their own series."""
    listed = [image for series in segmentation.ReferencedSeriesSequence for image in series.ReferencedInstanceSequence]
    by_series: dict[str, list[Dataset]] = {}
    for image in listed:
        by_series.setdefault(series_of[str(image.ReferencedSOPInstanceUID)], []).append(image)
    segmentation.ReferencedSeriesSequence = [_series_item(uid, images) for uid, images in by_series.items()]


def _series_item(uid: str, images: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedInstanceSequence = list(images)
    return item


def _make_like(dataset: Dataset, first: Dataset, *, keep_patient: bool) -> None:
    """Makes a source image consistent with the first one.

    highdicom requires a single series, frame of reference and orientation.
    """
    for tag in ("SeriesInstanceUID", "FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing"):
        if tag in first:
            setattr(dataset, tag, getattr(first, tag))
    for tag in _REFERENCES:
        if tag in dataset:
            delattr(dataset, tag)
    for tag in _FILED_BY:
        if tag not in dataset:
            setattr(dataset, tag, None)
    if keep_patient:
        for tag in _DATE_TAGS:
            # highdicom refuses dates such as 20120000, which some anonymisers write.
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
