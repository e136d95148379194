"""The position of a stack in the patient: views, wall directions, base and apex."""

import dataclasses
import itertools

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.image.boxes import Box
from foanet_jax.measures.indices.position import View, find_view
from foanet_jax.measures.indices.segments import RING_NAMES, ring_thickness, segment_thickness, slice_thirds
from foanet_jax.measures.indices.study import measure_study
from foanet_jax.measures.indices.tables import read_lv_indices, write_lv_indices
from tests.measures.indices.masks import PX

SPACING = (10.0, PX, 1.1 * PX)
# ImageOrientationPatient of two short axes of the Sunnybrook data, in DICOM's LPS axes: along rows, down columns.
UPRIGHT = (0.712, 0.701, -0.034, -0.308, 0.268, -0.913)
TURNED = (-0.105, 0.346, -0.932, -0.733, -0.660, -0.163)
STORED = [(order, flips) for order in ((0, 1, 2), (1, 0, 2)) for flips in itertools.product((False, True), repeat=3)]


def affine_of(orientation, spacing_mm=SPACING, *, base_first=True):
    """RAS affine of slices in an orientation of DICOM; the normal of these two points to the base."""
    right, down = np.reshape(orientation, (2, 3)) * (-1.0, -1.0, 1.0)
    normal = np.cross(right, down)
    right, down, normal = (axis / np.linalg.norm(axis) for axis in (np.cross(down, normal), down, normal))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([right, down, -normal if base_first else normal], 1) * np.array(spacing_mm)[::-1]
    return affine


def heart():
    """(1, 3, 90, 80) seen from the apex: a wall 12 mm thick above, 6 mm below, the right ventricle on the left."""
    rows, columns = np.indices((90, 80))
    x, up = (columns - 45.2) * SPACING[2], (44.7 - rows) * SPACING[1]
    mask = np.zeros((1, 3, 90, 80), np.uint8)
    for z, radius in enumerate((12.0, 10.0, 8.0)):
        mask[0, z][np.hypot(x + 18, up) < 9] = 1
        mask[0, z][np.hypot(x, up - 3) < radius + 9] = 2
        mask[0, z][np.hypot(x, up) < radius] = 3
    return mask


def stored(mask, affine, order, flips):
    """The same heart with axes (column, row, slice) in another order, some of them reversed, by nibabel."""
    ornt = np.array([[order.index(axis), -1 if flips[order.index(axis)] else 1] for axis in range(3)])
    array = nib.orientations.apply_orientation(mask[0].transpose(2, 1, 0), ornt)
    turned = affine @ nib.orientations.inv_ornt_aff(ornt, mask[0].transpose(2, 1, 0).shape)
    return array, turned


def test_a_short_axis_as_scanners_store_it_is_seen_as_it_is():
    assert find_view(affine_of(UPRIGHT)) == View(False, False, False, True)
    assert find_view(affine_of(UPRIGHT, base_first=False)) == View(False, False, False, False)


def test_rows_stored_from_the_bottom_are_turned_over():
    """As dcm2niix writes them."""
    affine = affine_of(UPRIGHT)
    affine[:3, 3] += affine[:3, 1] * 89
    affine[:3, 1] *= -1
    assert find_view(affine) == View(False, True, False, True)


def test_a_turned_image_is_turned_back():
    """Its rows run to the feet, and its columns to the front: the right ventricle is at the bottom."""
    view = find_view(affine_of(TURNED))
    image = np.array([[0, 1], [2, 3]])
    np.testing.assert_array_equal(view.planes(image), np.rot90(image, -1))


@pytest.mark.parametrize(
    "axes",
    [
        np.diag([-1.0, -1.0, 1.0]),  # ACDC
        np.diag([1.25, 1.25, 8.0]),
        np.eye(3)[[1, 2, 0]],
        nib.eulerangles.euler2mat(x=0.05) @ np.diag([1.0, 1.0, 8.0]),
    ],
    ids=["ACDC", "no rotation", "axes exchanged", "3° off"],
)
def test_axes_of_the_body_are_no_short_axis(axes):
    assert find_view(nib.affines.from_matvec(axes)) is None


def test_a_long_axis_and_no_affine_have_no_view():
    short = affine_of(UPRIGHT)
    assert find_view(short[:, [0, 2, 1, 3]]) is None
    assert find_view(None) is None


@pytest.mark.parametrize(("order", "flips"), STORED)
def test_indices_do_not_depend_on_the_order_in_which_the_heart_is_stored(order, flips):
    mask, affine = heart(), affine_of(UPRIGHT)
    expected = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING, affine=affine)
    array, turned = stored(mask, affine, order, flips)
    spacing = tuple(nib.affines.voxel_sizes(turned)[::-1])
    found = measure_study(array.transpose(2, 1, 0)[None], classes=ACDC_CLASSES, spacing_mm=spacing, affine=turned)
    assert found.base_first == (not flips[2])
    slices = slice(None, None, -1) if flips[2] else slice(None)
    for name, values in expected.slices.columns().items():
        there = found.slices.columns()[name]
        np.testing.assert_allclose(there[:, slices] if there.ndim > 1 else there, values, atol=1e-9, err_msg=name)
    assert found.slices.wall_directions == "known"

    def segments(indices):
        thirds = slice_thirds(indices.slices.cavity_area_mm2[0], base_first=indices.base_first)
        return segment_thickness(indices.slices.rwt_mm[0], thirds)

    np.testing.assert_allclose(segments(found), segments(expected), atol=1e-9)
    wall = dict(zip(RING_NAMES, ring_thickness(found.slices.rwt_mm[0, 1]), strict=True))
    assert wall["anterior"] == pytest.approx(12, abs=0.3)
    assert wall["inferior"] == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize(("order", "flips"), STORED[1::5])
def test_files_in_any_order_give_the_same_walls(tmp_path, order, flips):
    array, turned = stored(heart(), affine_of(UPRIGHT), order, flips)
    nib.save(nib.Nifti1Image(array, turned), tmp_path / "mask.nii.gz")
    volume = read_nifti(tmp_path / "mask.nii.gz")
    study = study_from_volume(volume, patient="p", case="p", classes=ACDC_CLASSES)
    found = measure_study(
        np.rint(study.voxels).astype(np.uint8), classes=ACDC_CLASSES, spacing_mm=study.spacing_mm, affine=study.affine
    )
    wall = ring_thickness(found.slices.rwt_mm[0, 1])
    assert wall[0] == pytest.approx(12, abs=0.3)
    assert wall[3] == pytest.approx(6, abs=0.3)


def test_without_a_position_the_direction_is_unknown(tmp_path):
    mask = heart()
    found = {}
    for name, affine in {"acdc": np.diag([-1.0, -1.0, 1.0, 1.0]), "array": None, "short": affine_of(UPRIGHT)}.items():
        indices = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING, affine=affine)
        found[name] = indices.slices
        assert (indices.view is None) == (name != "short")
        assert indices.base_first  # Without a position, from the larger half of the cavity.
    write_lv_indices(found, tmp_path / "lv.csv")
    read = {case: indices.wall_directions for case, indices in read_lv_indices(tmp_path / "lv.csv").items()}
    assert read == {"acdc": "unknown", "array": "unknown", "short": "known"}


def test_without_a_right_ventricle_the_direction_is_unknown():
    mask = heart() - 1
    mask[mask == 255] = 0
    found = measure_study(mask, classes=LV_CLASSES, spacing_mm=SPACING, affine=affine_of(UPRIGHT))
    assert found.slices.wall_directions == "unknown"


def test_a_mask_that_contradicts_the_position_is_measured_as_stored():
    """A right ventricle on the patient's left, and a cavity that is more than twice as large at the apex."""
    for mask in (heart()[..., ::-1], heart()[:, ::-1]):
        found = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING, affine=affine_of(UPRIGHT))
        stored_so = measure_study(mask, classes=ACDC_CLASSES, spacing_mm=SPACING)
        assert (found.view, found.slices.wall_directions) == (None, "unknown")
        np.testing.assert_array_equal(found.slices.rwt_mm, stored_so.slices.rwt_mm)


@pytest.mark.parametrize("places", list(itertools.product((False, True), repeat=3)))
def test_boxes_turn_with_the_images(places):
    view = View(*places, base_first=True)
    image = np.zeros((5, 7), int)
    box = Box(1, 2, 3, 6)
    image[box.slices] = 1
    seen = view.planes(image)
    assert seen[view.box(box, image.shape).slices].all()
    assert seen.sum() == np.prod(view.box(box, image.shape).shape)
    assert view.spacing((9.0, 1.0, 2.0)) == ((9.0, 2.0, 1.0) if places[0] else (9.0, 1.0, 2.0))


def test_a_table_of_an_earlier_version_has_unknown_directions(tmp_path):
    indices = measure_study(heart(), classes=ACDC_CLASSES, spacing_mm=SPACING, affine=affine_of(UPRIGHT)).slices
    write_lv_indices({"a": indices}, tmp_path / "lv.csv")
    text = (tmp_path / "lv.csv").read_text()
    (tmp_path / "lv.csv").write_text(text.replace(",wall_directions", "").replace(",known", ""))
    read = read_lv_indices(tmp_path / "lv.csv")["a"]
    assert read.wall_directions == "unknown"
    assert dataclasses.replace(read, wall_directions="known").columns().keys() == indices.columns().keys()
