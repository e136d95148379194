"""Search for patients with identical images: training on one of them and testing on another would bias the scores."""

import hashlib
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.refs import StudyRef, natural_key
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over


def voxel_digest(array: np.ndarray) -> str:
    """Returns a checksum of an array's shape, dtype and values."""
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def identical_patients(refs: Sequence[StudyRef]) -> tuple[tuple[str, ...], ...]:
    """Finds sets of two or more patients who have an image with the same voxels.

    The voxels are compared, not the files, because the same image can be compressed to different files. Only images are
    read, not labels, one at a time. Images that cannot be read, constant images and phantoms are ignored. In ACDC,
    patient074 and patient076 are such a set.

    Args:
        refs: the studies.

    Returns:
        The sets, each with its patients in natural order.
    """
    owners: dict[str, list[str]] = {}
    readable = [ref for ref in refs if ref.load_voxels is not None]
    for ref in over(readable, desc="comparing patients", unit="image"):
        assert ref.load_voxels is not None
        try:
            voxels = ref.load_voxels()
        except InputError:
            continue  # The training that needs this image, or --mode check, reports the error.
        if voxels.size and voxels.min() < voxels.max():
            owners.setdefault(voxel_digest(voxels), []).append(ref.patient)
    tied: list[set[str]] = []
    for patients in owners.values():
        # A patient can share the end-diastolic image with one patient and the end-systolic image with another. Then all
        # three are one set.
        touched = [others for others in tied if others & set(patients)]
        tied = [others for others in tied if others not in touched]
        tied.append(set(patients).union(*touched))
    sets = [tuple(sorted(patients, key=natural_key)) for patients in tied if len(patients) > 1]
    return tuple(sorted(sets, key=lambda patients: natural_key(patients[0])))
