"""Readers for NRRD, MetaImage, Analyze and NIfTI pairs: each file is read as the NIfTI file with the same content."""

from foanet_jax.data.formats.description import Description
from foanet_jax.data.formats.nrrd import Segment, describe_layers
from foanet_jax.data.formats.opening import SUFFIXES, data_files, is_other_format, opened_as_nifti

__all__ = [
    "SUFFIXES",
    "Description",
    "Segment",
    "data_files",
    "describe_layers",
    "is_other_format",
    "opened_as_nifti",
]
