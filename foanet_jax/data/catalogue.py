"""Data sets by name."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foanet_jax.data.inputs import read_input
from foanet_jax.data.nifti.orientation import SliceAxis
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.readers.folder import list_folder, read_folder_description
from foanet_jax.data.readers.lvquan19 import list_lvquan19
from foanet_jax.data.readers.mmwhs2017 import list_mmwhs2017
from foanet_jax.data.readers.nnunet import list_nnunet, read_nnunet_description
from foanet_jax.data.readers.sunnybrook import list_sunnybrook
from foanet_jax.data.refs import StudyRef
from foanet_jax.system.errors import InputError

__all__ = ["CATALOGUES", "StudyRef", "described_slice_axis", "open_catalogue", "own_spacing", "read_input"]

CATALOGUES: dict[str, Callable[..., list[StudyRef]]] = {
    "acdc": list_acdc,
    "folder": list_folder,
    "lvquan19": list_lvquan19,
    "mmwhs2017": list_mmwhs2017,
    "nnunet": list_nnunet,
    "sunnybrook": list_sunnybrook,
}


def open_catalogue(
    name: str, root: str | os.PathLike[str], *, problems: list[str] | None = None, **options: Any
) -> list[StudyRef]:
    """Lists the studies of a data set without loading them.

    Args:
        name: a key of CATALOGUES.
        root: the folder to which the data set was unpacked.
        problems: if given, problems of single files are appended to it instead of being raised, and all other studies
            are listed.
        options: keyword arguments of the data set's own function, such as slice_axis for mmwhs2017, and spacing_mm for
            data sets of NIfTI files.

    Raises:
        InputError: the name or an option is unknown; "spacing" if the spacing of this data set cannot be replaced; the
            folder is missing or empty, or it lacks files.
    """
    if name not in CATALOGUES:
        raise InputError("unknown-catalogue", f"no data set is called {name!r}; choose one of {', '.join(CATALOGUES)}")
    known = [key for key in inspect.signature(CATALOGUES[name]).parameters if key not in ("root", "problems")]
    if "spacing_mm" in options and "spacing_mm" not in known:
        raise own_spacing(name)
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(
            "unknown-option", f"{name}: unknown option {', '.join(unknown)}; known are: {', '.join(known) or 'none'}"
        )
    return CATALOGUES[name](root, problems=problems, **options)


def own_spacing(name: str) -> InputError:
    """Returns the error for a given spacing with a data set whose own spacing is always used."""
    return InputError(
        "spacing",
        f"{name}: only NIfTI files can be read with another spacing; leave out --spacing_mm (in Python, spacing_mm)",
    )


def described_slice_axis(name: str, root: str | os.PathLike[str]) -> SliceAxis | None:
    """Returns the axis of the world along which a data set with a dataset.json is sliced; None for other data sets."""
    if name == "folder":
        return read_folder_description(Path(root))[0].slice_axis
    if name == "nnunet":
        return read_nnunet_description(Path(root))[0].slice_axis
    return None
