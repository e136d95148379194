"""Images in other formats, each read as the NIfTI file that would hold the same: NRRD, MetaImage, Analyze, pairs."""

from foanet_jax.data.formats.opening import SUFFIXES, data_files, is_other_format, opened_as_nifti

__all__ = ["SUFFIXES", "data_files", "is_other_format", "opened_as_nifti"]
