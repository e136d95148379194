"""A small study on a tilted grid, its mask, and files of it as other programs write them."""

import gzip

import numpy as np
from scipy.spatial.transform import Rotation

from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import ACDC_CLASSES, Study

TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
SPACING = (8.0, 1.5, 1.25)  # slice, row, column


def study(shape=(2, 4, 9, 7), *, affine=None, spacing=SPACING):
    """A study with random voxels; `shape` is (T, Z, H, W)."""
    if affine is None:
        affine = np.eye(4)
        affine[:3, :3] = TURN * spacing[::-1]
        affine[:3, 3] = [10.5, -20.25, 30.75]
    voxels = np.random.default_rng(1).integers(0, 900, shape).astype(np.float32)
    return Study("p1", "p1", voxels, spacing, ACDC_CLASSES, affine=affine)


def mask_of(a_study, *, seed=2):
    """Random classes; every slice has all of them."""
    return np.random.default_rng(seed).integers(0, len(a_study.classes), a_study.voxels.shape).astype(np.uint8)


def write(a_study, array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(array, affine=a_study.affine, spacing_mm=a_study.spacing_mm, path=path)
    return path


def write_slicer(path, layers, a_study, segments, *, first=(0, 0, 0)):
    """Writes a segmentation as 3D Slicer 5 does.

    Args:
        path: ends in .seg.nrrd.
        layers: (L, Z, H, W) uint8; one layer is written without an axis of layers.
        a_study: gives the place in the world.
        segments: (name, value, layer) of each.
        first: column, row and slice at which the volume begins, as in a cropped file.
    """
    affine = np.diag([-1, -1, 1, 1]) @ a_study.affine
    origin = affine @ [*first, 1]
    steps = [f"({','.join(map(repr, affine[:3, axis].tolist()))})" for axis in range(3)]
    several = len(layers) > 1
    sizes = [*([len(layers)] if several else []), *layers.shape[:0:-1]]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join((['none'] if several else []) + steps)}",
        f"kinds: {' '.join((['list'] if several else []) + ['domain'] * 3)}",
        "encoding: gzip",
        f"space origin: ({','.join(map(repr, origin[:3].tolist()))})",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [
            f"Segment{number}_Color:=0.5 0.7 0.6",
            f"Segment{number}_Extent:=0 6 0 8 0 3",
            f"Segment{number}_ID:=Segment_{number + 1}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_Tags:=Segmentation.Status:inprogress|",
        ]
    lines += ["Segmentation_MasterRepresentation:=Binary labelmap", "", ""]
    # The axis of layers is the fastest one.
    body = np.moveaxis(layers, 0, -1).tobytes() if several else layers.tobytes()
    path.write_bytes("\n".join(lines).encode() + gzip.compress(body))
    return path
