"""A DICOM segmentation whose two segments overlap, made with highdicom as other programs make it."""

import numpy as np
import pydicom


def write_overlapping(study, path, highdicom):
    """Writes two segments that share a pixel of every slice of the first frame."""
    code = highdicom.sr.CodedConcept
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=code("80891009", "SCT", "Heart"),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(("myocardium", "cavity"), 1)
    ]
    images = [pydicom.dcmread(file) for file in study.header.files[0]]
    for image in images:
        for tag in ("StudyDate", "StudyTime", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(image, tag, None)
    pixels = np.zeros((*study.voxels.shape[1:], 2), np.uint8)
    pixels[:, 2, 3, :] = 1
    highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="a",
        manufacturer_model_name="b",
        software_versions="c",
        device_serial_number="d",
    ).save_as(path)
    return path
