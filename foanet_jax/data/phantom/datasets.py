"""The built-in phantoms as data sets. They are listed like data sets on disk and generated when they are loaded."""

import functools
from collections.abc import Callable

from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.system.errors import InputError


def _listed(patients: int, make: Callable[[int], Study]) -> list[StudyRef]:
    if patients < 1:
        raise InputError("too-few-patients", f"data.patients is {patients}; use at least 1 patient")
    return [StudyRef(f"phantom{p:03d}", f"phantom{p:03d}", None, functools.partial(make, p)) for p in range(patients)]


def list_short_axis_phantom(patients: int, *, size: int, frames: int, seed: int) -> list[StudyRef]:
    """Lists short-axis cines as in LVQuan19, with `frames` frames of `size` × `size` px."""
    return _listed(patients, functools.partial(short_axis_study, size=size, frames=frames, seed=seed))


def list_stack_phantom(patients: int, *, size: int, seed: int) -> list[StudyRef]:
    """Lists stacks of short-axis slices at end diastole, with the classes of ACDC."""
    return _listed(patients, functools.partial(short_axis_stack, size=size, seed=seed))


def list_whole_heart_phantom(patients: int, *, shape: tuple[int, int, int], seed: int) -> list[StudyRef]:
    """Lists whole hearts as in MM-WHS2017, volumes of `shape` (slices, rows, columns)."""
    return _listed(patients, functools.partial(whole_heart_study, shape=shape, seed=seed))
