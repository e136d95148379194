"""Patients who share an image: whoever is trained on one of them must not be tested on another."""

import hashlib
from collections.abc import Sequence

import numpy as np

from foanet_jax.data.refs import StudyRef, natural_key
from foanet_jax.system.errors import InputError
from foanet_jax.system.progress import over


def voxel_digest(array: np.ndarray) -> str:
    """A checksum that two arrays have in common only where shape, type and every value are the same."""
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def identical_patients(refs: Sequence[StudyRef]) -> tuple[tuple[str, ...], ...]:
    """The sets of two or more patients that images with the same voxels tie together, each in order.

    Voxels are compared, as they are read, and not files: the same image compressed twice makes two different files.
    Images alone are read, one at a time. Images that cannot be read, or that show one value everywhere, tie nobody;
    neither do studies that are made rather than read. ACDC's patient074 and patient076 are such a set.
    """
    owners: dict[str, list[str]] = {}
    readable = [ref for ref in refs if ref.load_voxels is not None]
    for ref in over(readable, desc="comparing patients", unit="image"):
        assert ref.load_voxels is not None
        try:
            voxels = ref.load_voxels()
        except InputError:
            continue  # Told by the training that needs it, or by --mode check.
        if voxels.size and voxels.min() < voxels.max():
            owners.setdefault(voxel_digest(voxels), []).append(ref.patient)
    tied: list[set[str]] = []
    for patients in owners.values():
        # A patient may be tied to one by end diastole and to another by end systole: then the three are one set.
        touched = [others for others in tied if others & set(patients)]
        tied = [others for others in tied if others not in touched]
        tied.append(set(patients).union(*touched))
    sets = [tuple(sorted(patients, key=natural_key)) for patients in tied if len(patients) > 1]
    return tuple(sorted(sets, key=lambda patients: natural_key(patients[0])))
