"""The formats that are damaged: for each one a few tiny sound seeds and the reader that users meet."""

import functools
from collections.abc import Callable

from tests.fuzz.formats.dicom import (
    bare_seeds,
    compressed_seeds,
    dicom_seeds,
    directory_seeds,
    enhanced_seeds,
    sunnybrook_seeds,
)
from tests.fuzz.formats.folds import folds_seeds
from tests.fuzz.formats.mat import lvquan19_seeds, mat_seeds
from tests.fuzz.formats.nifti import acdc_seeds, folder_seeds, mmwhs_seeds, nifti_seeds, nnunet_seeds
from tests.fuzz.formats.volumes import metaimage_seeds, nrrd_seeds, pair_seeds
from tests.fuzz.seeds import Seed

FORMATS: dict[str, Callable[[], list[Seed]]] = {
    "nifti.gz": functools.partial(nifti_seeds, True),
    "nifti": functools.partial(nifti_seeds, False),
    "matlab5": functools.partial(mat_seeds, "57"),
    "matlab7.3": functools.partial(mat_seeds, "hH"),
    "lvquan19": lvquan19_seeds,
    "acdc": acdc_seeds,
    "mmwhs2017": mmwhs_seeds,
    "folds.json": folds_seeds,
    "dicom": dicom_seeds,
    "dicom-bare": bare_seeds,
    "dicom-compressed": compressed_seeds,
    "dicom-enhanced": enhanced_seeds,
    "dicomdir": directory_seeds,
    "sunnybrook": sunnybrook_seeds,
    "folder": folder_seeds,
    "nnunet": nnunet_seeds,
    "nrrd": nrrd_seeds,
    "metaimage": metaimage_seeds,
    "pair": pair_seeds,
}
