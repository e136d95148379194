"""Reads segmentations of 3D Slicer (.seg.nrrd): names of segments, and labels in one or several layers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foanet_jax.data.formats import Segment, describe_layers
from foanet_jax.data.nifti.file import NiftiVolume, read_nifti
from foanet_jax.system.errors import InputError

SUFFIX = ".seg.nrrd"


def is_slicer(path: Path) -> bool:
    """Whether a file has the name of a segmentation of 3D Slicer."""
    return path.name.lower().endswith(SUFFIX)


def slicer_names(path: Path) -> dict[int, str]:
    """Returns the names of the segments by the values that `read_slicer` gives them.

    Raises:
        InputError: the header is not valid.
    """
    _, layers, segments = describe_layers(path)
    return {value: segment.name for value, segment in _numbered(segments, layers).items()}


def read_slicer(path: Path) -> NiftiVolume:
    """Reads the labels of all layers as one volume. Segments in several layers are numbered from 1, in their order.

    Raises:
        InputError: the file cannot be read; or "overlapping" if a voxel belongs to two segments.
    """
    described, layers, segments = describe_layers(path)
    volume = read_nifti(path, described=described)
    if layers == 1 and not _renumbered(segments, layers):
        return volume
    frames, slices, rows, width = volume.data.shape
    stored = volume.data.reshape(frames, slices, rows, width // layers, layers)
    numbered = _numbered(segments, layers)
    merged = np.zeros(stored.shape[:-1], np.float32)
    for value, segment in numbered.items():
        here = stored[..., min(segment.layer, layers - 1)] == segment.value
        both = here & (merged > 0)
        if both.any():
            other = numbered[int(merged[both][0])]
            raise InputError(
                "overlapping",
                f"{path}: the segments {other.name} and {segment.name} overlap in {int(both.sum())} voxels; a mask has "
                "one class for each voxel: in 3D Slicer, set Masking > Modify other segments to Overwrite all, and "
                "remove one of the two from the overlap",
            )
        merged[here] = value
    if np.count_nonzero(stored) > np.count_nonzero(merged):
        raise InputError("unknown-label", f"{path}: has voxels that belong to no segment; export it again")
    slice_mm, row_mm, column_mm = volume.spacing_mm
    affine = volume.affine @ np.diag([layers, 1.0, 1.0, 1.0])
    return dataclasses.replace(
        volume, data=merged, spacing_mm=(slice_mm, row_mm, column_mm * layers), affine=affine, to_source=None
    )


def _numbered(segments: list[Segment], layers: int) -> Mapping[int, Segment]:
    """Returns the segments by their values: those of the file, or numbers from 1 if the file repeats a value."""
    if _renumbered(segments, layers):
        return dict(enumerate(segments, 1))
    return {segment.value: segment for segment in segments}


def _renumbered(segments: list[Segment], layers: int) -> bool:
    # In several layers, values repeat, and older versions of Slicer have one layer, of the value 1, for each segment.
    return layers > 1 or len({segment.value for segment in segments}) < len(segments)
