"""Cine MR in DICOM files. All values are checked before they are used, and no output names the patient."""

from foanet_jax.data.dicom.files import holds_dicom, is_dicom
from foanet_jax.data.dicom.listing import find_dicom, list_dicom
from foanet_jax.data.dicom.reader import DicomSource, read_dicom_series
from foanet_jax.data.dicom.segmentation import write_mask_dicom_seg

__all__ = [
    "DicomSource",
    "find_dicom",
    "holds_dicom",
    "is_dicom",
    "list_dicom",
    "read_dicom_series",
    "write_mask_dicom_seg",
]
