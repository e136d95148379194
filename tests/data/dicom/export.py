"""A patient's export as hospitals make it, a few kB large: series of every kind around one synthetic heart."""

import numpy as np

from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import LV_CLASSES, Study
from tests.data.dicom.test_dicom import edit_all

# Normals in LPS+: the long axis of a usual heart, and planes that hold it.
AXIS = np.array([0.66, -0.60, -0.45]) / np.linalg.norm([0.66, -0.60, -0.45])
FOUR_CHAMBERS = np.cross(AXIS, [1.0, 0.4, 0.0])
TWO_CHAMBERS = np.cross(AXIS, FOUR_CHAMBERS)
AXIAL, CORONAL, SAGITTAL = np.eye(3)[[2, 1, 0]]


def series(folder, patient, number, normal=AXIS, shape=(6, 6, 8, 9), *, seed=None, slice_mm=8.0, **tags):
    """Writes one series of a patient below `folder`; returns its files, ordered by slice and then by frame.

    Args:
        folder: of the patient; the series gets a folder in it.
        patient: id.
        number: of the series.
        normal: of its planes in LPS+; slices follow along it.
        shape: frames, slices, rows, columns.
        seed: of the pixels; by default the number.
        slice_mm: distance of slices.
        tags: that the images have besides.
    """
    normal = np.asarray(normal) / np.linalg.norm(normal)
    along = np.cross(normal, [0.3, 0.5, 0.8])
    along /= np.linalg.norm(along)
    directions = np.stack([along, np.cross(normal, along), normal], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ directions * [1.5, 1.5, slice_mm]
    affine[:3, 3] = [7.0 + number, -11.0, 13.0]
    voxels = np.random.default_rng(number if seed is None else seed).integers(0, 900, shape).astype(np.float32)
    study = Study(patient, f"{patient} {number}", voxels, (slice_mm, 1.5, 1.5), LV_CLASSES, affine=affine)
    paths = write_dicom(study, folder / f"s{number}")
    common = {"StudyInstanceUID": f"2.999.{len(patient)}", "FrameOfReferenceUID": f"2.999.{len(patient)}.1"}
    edit_all(paths, SeriesNumber=number, **common, **tags)
    return paths


def patient(folder, name):
    """Writes a whole study of a patient; only series 4 is a short-axis cine."""
    still = (1, 6, 8, 9)
    for place, normal in enumerate((AXIAL, CORONAL, SAGITTAL)):
        paths = series(folder, name, 1 + 100 * place, normal, (1, 3, 8, 9), slice_mm=30.0)
        edit_all(paths, SeriesNumber=1, SeriesInstanceUID="2.999.100")
    series(folder, name, 2, FOUR_CHAMBERS, (6, 1, 8, 9), SeriesDescription="cine")
    series(folder, name, 3, TWO_CHAMBERS, (6, 1, 8, 9), SeriesDescription="cine")
    series(folder, name, 4, AXIS, SeriesDescription="cine")
    series(folder, name, 5, FOUR_CHAMBERS, (6, 5, 8, 9), SeriesDescription="cine")
    series(folder, name, 6, AXIS, still, InversionTime=260, SeriesDescription="cine")
    series(folder, name, 7, AXIS, (6, 6, 8, 9), ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    series(folder, name, 8, AXIS, still, ImageType=["DERIVED", "PRIMARY", "M", "T1 MAP"])
    series(folder, name, 9, AXIS, (6, 3, 8, 9))
    series(folder, name, 10, AXIS, still)
