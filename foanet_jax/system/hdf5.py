"""Checks of an HDF5 dataset's header before its values are read."""

import math

import h5py

# Other filters are refused. In damaged files, HDF5 2.0 reads out of bounds when it verifies Fletcher32 checksums. For
# an unknown filter it loads a plug-in.
_FILTERS = frozenset((h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE))
_DEFLATE_LIMIT = 1032  # the largest compression ratio of deflate


def leads_elsewhere(dataset: h5py.Dataset) -> bool:
    """Returns whether the dataset's values are in other files (external or virtual storage)."""
    return bool(dataset.external) or dataset.is_virtual


def refused_filters(dataset: h5py.Dataset) -> list[int]:
    """Returns the ids of all the dataset's filters if one of them is neither deflate nor shuffle, else []."""
    layout = dataset.id.get_create_plist()
    filters = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    return [] if _FILTERS.issuperset(filters) else filters


def unpacked_bytes(dataset: h5py.Dataset) -> int:
    """Returns the number of bytes of memory that are needed to read the dataset.

    A chunk is always decompressed as a whole, even if the array fills only a small part of it.
    """
    itemsize = dataset.dtype.itemsize
    nbytes = math.prod(dataset.shape) * itemsize
    return max(nbytes, math.prod(dataset.chunks) * itemsize if nbytes and dataset.chunks else 0)


def stored_bytes_lacking(dataset: h5py.Dataset) -> int | None:
    """Returns the number of stored bytes if they are too few for the values of the dataset, else None.

    HDF5 fills in the values of missing chunks. A file of a few bytes could therefore need gigabytes of memory.
    """
    stored = dataset.id.get_storage_size()
    return stored if unpacked_bytes(dataset) > _DEFLATE_LIMIT * stored else None
