"""Sheared affines: a voxel's volume is the determinant of the affine, in every format that can store one."""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foanet_jax.data.dicom import find_dicom
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.data.masks.placing import onto
from foanet_jax.data.nifti.file import read_grid, read_nifti
from foanet_jax.data.nifti.geometry import SHEARED, sides_of
from foanet_jax.data.nifti.orientation import to_canonical
from foanet_jax.data.nifti.studies import require_same_grid, study_from_volume
from foanet_jax.data.nifti.write import write_image, write_mask
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.system.errors import InputError
from tests.data.dicom.test_dicom import CORONAL, edit, study_of
from tests.data.formats.test_formats import meta, nrrd

TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
COUNT = 100  # of voxels in the mask


def save(path, steps, pixdim=None, *, turn=TURN, shape=(20, 16, 5)):
    """A file whose affine has these columns (column, row, slice), turned; nibabel writes their lengths to pixdim."""
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.transpose(steps)
    image = nib.Nifti1Image(np.zeros(shape, np.int16), affine)
    if pixdim is not None:
        image.header["pixdim"][1:4] = pixdim
    nib.save(image, path)
    return path


def ml_of(study, folder):
    """The volume of COUNT voxels as the program measures it, once the written mask has it for nibabel in both ways."""
    mask = np.zeros(study.voxels.shape, np.uint8)
    mask[0].flat[:COUNT] = 1
    write_mask(mask, study, folder / "mask.nii.gz")
    ml = COUNT * float(np.prod(study.spacing_mm)) / 1000
    image = nib.load(folder / "mask.nii.gz")
    counted = np.count_nonzero(image.dataobj)
    assert counted == COUNT
    assert counted * abs(np.linalg.det(image.affine[:3, :3])) / 1000 == pytest.approx(ml, rel=1e-5)
    assert nib.imagestats.mask_volume(image) / 1000 == pytest.approx(ml, rel=1e-5)
    # The program reads its own mask with the same spacing.
    assert read_grid(folder / "mask.nii.gz").spacing_mm == pytest.approx(study.spacing_mm, rel=1e-6)
    return ml


def ml_of_file(path, **options):
    study = study_from_volume(read_nifti(path, **options), patient="p", case="c", classes=("background", "heart"))
    return ml_of(study, path.parent)


@pytest.mark.parametrize("shift", [(4, 0), (0, -3), (6, 8), (1.2, 0), (0.2, 0)])
@pytest.mark.parametrize("pixdim", ["lengths", "distances"])
def test_a_sheared_copy_has_the_volume_of_its_determinant(tmp_path, shift, pixdim):
    """Slices of 1.25 × 1.5 mm pixels, 8 mm apart, each shifted against the one before: by hand 1.5 ml."""
    steps = [(1.25, 0, 0), (0, 1.5, 0), (*shift, 8)]
    path = save(tmp_path / "a.nii.gz", steps, None if pixdim == "lengths" else (1.25, 1.5, 8))
    affine = nib.load(path).affine
    truth = COUNT * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert truth == pytest.approx(1.5, rel=1e-6)
    assert ml_of_file(path) == pytest.approx(truth, rel=1e-5)
    volume = read_nifti(path)
    assert volume.spacing_mm == pytest.approx((8, 1.5, 1.25), rel=1e-5)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert volume.remarks == (SHEARED,)
    assert read_grid(path).spacing_mm == volume.spacing_mm
    # The column is up to 1.6 times as long as the distance of the slices.
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(np.hypot(8, np.hypot(*shift)), rel=1e-5)


def test_without_shear_there_is_no_remark(tmp_path):
    volume = read_nifti(save(tmp_path / "a.nii.gz", np.diag([1.25, 1.5, 8])))
    assert volume.remarks == ()
    assert volume.spacing_mm == pytest.approx((8, 1.5, 1.25), rel=1e-6)


def test_a_pixdim_that_is_neither_is_refused_and_a_given_distance_is_that_of_the_slices(tmp_path):
    path = save(tmp_path / "a.nii.gz", [(1.25, 0, 0), (0, 1.5, 0), (6, 0, 8)], (1.25, 1.5, 9))
    with pytest.raises(InputError, match=r"9 × 1\.5 × 1\.25 .* 8 × 1\.5 × 1\.25 .* 10 mm apart along") as caught:
        read_nifti(path)
    assert caught.value.code == "spacing-contradicts"
    given = read_nifti(path, spacing_mm=(9, 1.5, 1.25))
    assert given.spacing_mm == pytest.approx((9, 1.5, 1.25))
    # 100 × 9 × 1.5 × 1.25 mm³; the direction of the third column stays.
    assert ml_of_file(path, spacing_mm=(9, 1.5, 1.25)) == pytest.approx(1.6875, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(given.affine[:3, 2]), 10 * 9 / 8, rtol=1e-6)


@pytest.mark.parametrize(("degrees", "is_read"), [(89.5, True), (90.5, True), (89.3, False), (91, False), (60, False)])
@pytest.mark.parametrize("shape", [(20, 16, 5), (20, 16), (20, 16, 1)])
def test_rows_that_lean_against_columns_are_refused(tmp_path, degrees, is_read, shape):
    """A cosine of 0.01 is an angle of 0.57°."""
    angle = np.deg2rad(degrees)
    steps = [(1.25, 0, 0), (1.5 * np.cos(angle), 1.5 * np.sin(angle), 0), (0, 0, 8)]
    path = save(tmp_path / "a.nii.gz", steps, shape=shape)
    if is_read:
        assert read_nifti(path).spacing_mm[1:] == pytest.approx((1.5, 1.25), rel=1e-5)
        return
    with pytest.raises(InputError, match=rf"rows and columns are at {degrees}.*resample the image") as caught:
        read_nifti(path)
    assert caught.value.code == "affine"
    assert str(path) in str(caught.value)


def test_a_sheared_unit_affine_is_no_placeholder(tmp_path):
    path = save(tmp_path / "a.nii.gz", [(1, 0, 0), (0, 1, 0), (0.6, 0, 0.8)], (1.5625, 1.5625, 10))
    with pytest.raises(InputError) as caught:
        read_nifti(path)
    assert caught.value.code == "spacing-contradicts"


def test_the_other_formats(tmp_path):
    """The third direction of each is (6, 0, 8): 10 mm long, and slices 8 mm apart."""
    by_hand = (8.0, 1.5, 1.25)
    leaning = nrrd(tmp_path / "a.nrrd", space_directions="(1.25,0,0) (0,1.5,0) (6,0,8)")
    told = nrrd(tmp_path / "b.nrrd", space_directions="(1.25,0,0) (0,1.5,0) (6,0,8)", spacings="1.25 1.5 8")
    # Its rows are the axes, as unit vectors.
    matrix = {"TransformMatrix": "1 0 0 0 1 0 0.6 0 0.8", "ElementSpacing": "1.25 1.5 10"}
    pair = tmp_path / "d.img"
    affine = nib.affines.from_matvec([[1.25, 0, 6], [0, 1.5, 0], [0, 0, 8]])
    image = nib.Nifti1Pair(np.zeros((4, 5, 3), np.int16), affine)
    nib.save(image, pair)
    for path in (leaning, told, meta(tmp_path / "c.mha", **matrix), pair):
        volume = read_nifti(path)
        assert volume.spacing_mm == pytest.approx(by_hand, rel=1e-6), path
        assert np.prod(volume.spacing_mm) == pytest.approx(abs(np.linalg.det(volume.affine[:3, :3])), rel=1e-6)
        assert volume.remarks == (SHEARED,)
    with pytest.raises(InputError, match="rows and columns are at 53"):
        read_nifti(nrrd(tmp_path / "e.nrrd", space_directions="(1.25,0,0) (0.9,1.2,0) (0,0,8)"))


def test_reoriented_volumes(tmp_path):
    """Sagittal slices of a grid that is sheared in its columns are slanted pictures; coronal ones are not."""
    steps = [(1.25, 0, 0), (0, 1.5, 0), (0, 2, 8)]
    volume = read_nifti(save(tmp_path / "a.nii.gz", steps, turn=np.eye(3)))
    for axis, spacing in (("axial", (8, 1.5, 1.25)), ("coronal", (1.5 * 8 / np.hypot(2, 8), np.hypot(2, 8), 1.25))):
        canonical = to_canonical(volume, axis)
        assert canonical.spacing_mm == pytest.approx(spacing, rel=1e-5)
        assert np.prod(canonical.spacing_mm) == pytest.approx(1.25 * 1.5 * 8, rel=1e-5)
    with pytest.raises(InputError, match="rows and columns are at 76") as caught:
        to_canonical(volume, "sagittal")
    assert caught.value.code == "affine"


def test_slices_of_dicom_that_are_shifted_in_their_planes(tmp_path):
    """Each slice lies 3 mm further along its rows: a step of 8.54 mm, and slices 8 mm apart."""
    made = study_of((1, 4, 4, 5))
    for z, path in enumerate(sorted(write_dicom(made, tmp_path / "in"))):
        position = np.diag([-1, -1, 1]) @ (CORONAL[:3, 3] + z * CORONAL[:3, 2]) + z * np.array([3, 0, 0])
        edit(path, ImagePositionPatient=[float(value) for value in position])
    (ref,) = find_dicom(tmp_path / "in", wanted=Wanted(series=("all",))).refs
    study = ref.load()
    assert study.spacing_mm == pytest.approx((8, 2, 1.5))
    assert np.linalg.norm(study.affine[:3, 2]) == pytest.approx(np.hypot(3, 8))
    mask = np.ones(study.voxels.shape, np.uint8)
    write_mask(mask, study, tmp_path / "mask.nii.gz")
    write_image(study, tmp_path / "image.nii.gz")
    for name in ("mask", "image"):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        truth = mask.size * 8 * 2 * 1.5 / 1000
        assert mask.size * abs(np.linalg.det(image.affine[:3, :3])) / 1000 == pytest.approx(truth, rel=1e-5)
        volume = read_nifti(tmp_path / f"{name}.nii.gz")
        assert volume.spacing_mm == pytest.approx(study.spacing_mm, rel=1e-5)
        np.testing.assert_allclose(volume.affine, study.affine, atol=1e-4)


def test_rounded_directions_of_dicom_become_right_angles(tmp_path):
    paths = write_dicom(study_of((1, 4, 4, 5)), tmp_path / "in")
    for path in paths:
        edit(path, ImageOrientationPatient=[1, 0, 0, 0.015, 0, -1])  # off by 0.9°
    (ref,) = find_dicom(tmp_path / "in", wanted=Wanted(series=("all",))).refs
    study = ref.load()
    column, row = study.affine[:3, 0], study.affine[:3, 1]
    assert column @ row == pytest.approx(0, abs=1e-12)
    assert (np.linalg.norm(column), np.linalg.norm(row)) == pytest.approx((1.5, 2))
    write_image(study, tmp_path / "image.nii.gz")
    assert read_nifti(tmp_path / "image.nii.gz").spacing_mm == pytest.approx(study.spacing_mm, rel=1e-5)


def test_labels_with_the_other_pixdim_are_on_the_same_grid(tmp_path):
    steps = [(1.25, 0, 0), (0, 1.5, 0), (6, 0, 8)]
    image = read_nifti(save(tmp_path / "a.nii.gz", steps))
    labels = read_nifti(save(tmp_path / "b.nii.gz", steps, (1.25, 1.5, 8)))
    require_same_grid(image, labels)


def test_a_mask_of_a_sheared_image_is_put_back_on_it(tmp_path):
    """Also if another program stored its slices in reverse."""
    path = save(tmp_path / "a.nii.gz", [(1.25, 0, 0), (0, 1.5, 0), (6, -3, 8)], shape=(6, 5, 4))
    study = study_from_volume(read_nifti(path), patient="p", case="c", classes=("background", "heart"))
    mask = np.random.default_rng(0).integers(0, 2, study.voxels.shape).astype(np.uint8)
    write_mask(mask, study, tmp_path / "mask.nii.gz")
    image = nib.load(tmp_path / "mask.nii.gz")
    flipped = image.affine @ nib.affines.from_matvec(np.diag([1, 1, -1]), [0, 0, 3])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:, :, ::-1], flipped), tmp_path / "flipped.nii.gz")
    for name in ("mask", "flipped"):
        volume = read_nifti(tmp_path / f"{name}.nii.gz")
        placed = onto(volume.data, volume.affine, volume.spacing_mm, study, volume.path, cropped=False)
        np.testing.assert_array_equal(placed, mask)


def test_the_sides_by_hand():
    np.testing.assert_allclose(sides_of(np.transpose([(2, 0, 0), (0, 3, 0), (30, 40, 5)])), (2, 3, 5))
    assert np.isnan(sides_of(np.zeros((3, 3)))[2])
