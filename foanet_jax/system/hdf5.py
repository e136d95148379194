"""What has to be known of an HDF5 dataset before its values are read: nothing here reads them."""

import math

import h5py

# HDF5 2.0's check of Fletcher's sums reads out of bounds in damaged files, and a filter that it does not know it loads
# as a plug-in.
_FILTERS = frozenset((h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE))
_DEFLATE_LIMIT = 1032  # bytes that one compressed byte can hold at most


def leads_elsewhere(dataset: h5py.Dataset) -> bool:
    """Whether its values lie in other files, as those of external and virtual storage do."""
    return bool(dataset.external) or dataset.is_virtual


def refused_filters(dataset: h5py.Dataset) -> list[int]:
    """The numbers of all its filters, where one is neither deflate nor shuffle."""
    layout = dataset.id.get_create_plist()
    filters = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    return [] if _FILTERS.issuperset(filters) else filters


def unpacked_bytes(dataset: h5py.Dataset) -> int:
    """The memory that reading it takes: chunks are unpacked whole, however little of them the array takes."""
    itemsize = dataset.dtype.itemsize
    nbytes = math.prod(dataset.shape) * itemsize
    return max(nbytes, math.prod(dataset.chunks) * itemsize if nbytes and dataset.chunks else 0)


def stored_bytes_lacking(dataset: h5py.Dataset) -> int | None:
    """The bytes that are stored of it where its values cannot come from so few, else None.

    Of chunks that are not there HDF5 makes up the values: a few bytes would become gigabytes.
    """
    stored = dataset.id.get_storage_size()
    return stored if unpacked_bytes(dataset) > _DEFLATE_LIMIT * stored else None
