"""Headers whose pixdim, sform, qform and units contradict each other: one rule, whoever reads them."""

import itertools

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.file import read_grid, read_nifti
from foanet_jax.data.nifti.geometry import UNIT_AFFINE
from foanet_jax.data.nifti.studies import study_from_volume
from foanet_jax.data.nifti.write import write_mask
from foanet_jax.system.errors import InputError
from tests.data.nifti.test_nifti import patch

TRUE = (1.5625, 1.5625, 10.0)  # of columns, rows and slices
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def save(path, sides, *, shape=(20, 16, 5), sform=2, qform=0, units="mm", **fields):
    """A file whose affine has columns of these lengths, turned about z; then header fields are changed."""
    affine = np.eye(4)
    affine[:3, :3] = TURN * sides
    affine[:3, 3] = (-30, 20, 7)
    image = nib.Nifti1Image(np.zeros(shape, np.int16), None)
    image.header.set_xyzt_units(units)
    image.header.set_qform(affine, code=qform)
    image.header.set_sform(affine, code=sform)
    image.header["pixdim"][1:4] = sides
    nib.save(image, path)
    return patch(path, **fields)


def pixdim(*sides):
    return {f"pixdim_{axis}": side for axis, side in enumerate(sides, 1)}


def ml_of_100_voxels(path, **options):
    """The volume of 100 voxels, as the program measures it, once nibabel agrees that the written mask has it."""
    volume = read_nifti(path, **options)
    study = study_from_volume(volume, patient="p", case="c", classes=("background", "heart"))
    mask = np.zeros(study.voxels.shape, np.uint8)
    mask.flat[:100] = 1
    written = path.with_name("mask.nii.gz")
    write_mask(mask, study, written)
    ml = 100 * np.prod(study.spacing_mm) / 1000
    image = nib.load(written)
    assert np.count_nonzero(image.dataobj) * np.prod(image.header.get_zooms()[:3]) / 1000 == pytest.approx(ml, rel=1e-5)
    if UNIT_AFFINE not in study.remarks:
        scale = {"unknown": 1, "mm": 1, "meter": 1000, "micron": 1e-3}[image.header.get_xyzt_units()[0]]
        sides = scale * nib.affines.voxel_sizes(image.affine)
        assert np.count_nonzero(image.dataobj) * np.prod(sides) / 1000 == pytest.approx(ml, rel=1e-4)
    return ml


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        read_nifti(path, **options)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError) as of_grid:
        read_grid(path)
    assert str(of_grid.value) == str(caught.value)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("codes", [(2, 0), (1, 1), (0, 1), (2, 2), (4, 0)])
def test_headers_that_agree(tmp_path, codes):
    path = save(tmp_path / "a.nii.gz", TRUE, sform=codes[0], qform=codes[1])
    # 100 × 1.5625 × 1.5625 × 10 mm³.
    assert ml_of_100_voxels(path) == pytest.approx(2.44140625)
    assert read_nifti(path).spacing_mm == TRUE[::-1]
    assert read_nifti(path).remarks == ()


@pytest.mark.parametrize(
    "stale",
    [
        (1.25, 1.25, 8),  # 1.95 times too small a volume
        (1.5625, 1.5625, 6),
        (1, 1, 1),
        (10, 1.5625, 1.5625),  # another order
        (1.5625, 1.5625, 10.2),
        (1.5, 1.5625, 10),
    ],
)
@pytest.mark.parametrize("codes", [(2, 0), (1, 1)])
def test_pixdim_and_sform_that_contradict_each_other(tmp_path, stale, codes):
    path = save(tmp_path / "a.nii.gz", TRUE, sform=codes[0], qform=codes[1], **pixdim(*stale))
    code, message = refused(path)
    assert code == "spacing-contradicts"
    assert ("pixdim and qform have" if codes[1] else "pixdim has") in message
    assert " × ".join(f"{side:g}" for side in stale[::-1]) in message
    assert "10 × 1.5625 × 1.5625" in message
    assert "--spacing_mm=Z,Y,X" in message
    # The remedy: whichever is right.
    assert ml_of_100_voxels(path, spacing_mm=TRUE[::-1]) == pytest.approx(2.44140625)
    if stale[0] == 10:  # Slices that lie along the first axis are refused for that.
        return
    assert ml_of_100_voxels(path, spacing_mm=stale[::-1]) == pytest.approx(np.prod(stale) / 10)


def test_a_given_spacing_turns_and_moves_nothing(tmp_path):
    path = save(tmp_path / "a.nii.gz", (1.25, 1.25, 8), units="meter", **pixdim(1, 2, 3))
    volume = read_nifti(path, spacing_mm=(10, 1.5, 1.25))
    np.testing.assert_allclose(volume.affine[:3, :3] / (1.25, 1.5, 10), TURN, atol=1e-6)
    np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), (1.25, 1.5, 10), rtol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, 3], (-30_000, 20_000, 7000))  # in mm, as before


def test_a_given_spacing_of_an_image_without_a_third_column(tmp_path):
    path = save(tmp_path / "a.nii", TRUE, shape=(20, 16), **pixdim(1, 1, 1))
    content = nib.Nifti1Header(path.read_bytes()[:348])
    content["srow_x"][2] = content["srow_y"][2] = content["srow_z"][2] = 0
    path.write_bytes(content.binaryblock + path.read_bytes()[348:])
    assert refused(path)[0] == "spacing-contradicts"
    volume = read_nifti(path, spacing_mm=(10, 1.5, 1.25))
    assert volume.spacing_mm == (10, 1.5, 1.25)
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :2], axis=0), (1.25, 1.5), rtol=1e-6)


@pytest.mark.parametrize("given", [(8, 1), (8, 1, 0), (8, -1, 1), (8, 1, np.nan), "abc", (8, 1, np.inf), (8, 1, None)])
def test_given_spacings_that_are_refused(tmp_path, given):
    path = save(tmp_path / "a.nii.gz", TRUE)
    with pytest.raises(InputError, match="three real numbers") as caught:
        read_nifti(path, spacing_mm=given)
    assert caught.value.code == "spacing"


@pytest.mark.parametrize("off", [0.00005, 0.0005, 0.009])
def test_the_sform_counts_where_pixdim_is_close(tmp_path, off):
    """Volumes by the sform, to within its rounding, and the mask's pixdim as well."""
    path = save(tmp_path / "a.nii.gz", TRUE, **pixdim(1.5625 * (1 + off), 1.5625, 10))
    assert ml_of_100_voxels(path) == pytest.approx(2.44140625, rel=1e-4)
    if off > 1e-4:
        assert ml_of_100_voxels(path) == pytest.approx(2.44140625, rel=1e-6)


def test_placeholders_of_acdc(tmp_path):
    """Sides of 1 in the sform, the truth in pixdim, as in all 400 files of ACDC: said, and the mask is a copy of it."""
    path = save(tmp_path / "a.nii.gz", (1, 1, 1), units="unknown", **pixdim(*TRUE))
    assert ml_of_100_voxels(path) == pytest.approx(2.44140625)
    assert read_nifti(path).remarks == (UNIT_AFFINE,)
    assert read_nifti(path).spacing_mm == TRUE[::-1]
    for name in ("pixdim", "srow_x", "srow_y", "srow_z", "sform_code"):
        np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").header[name], nib.load(path).header[name])


@pytest.mark.parametrize(
    ("sides", "codes", "changed"),
    [
        ((1, 1, 1), (2, 1), TRUE),  # the qform has true sides: two against one, but no placeholder
        ((1, 1, 1), (2, 0), (20, 20, 80)),  # implausible sides in pixdim
        ((2, 2, 2), (2, 0), TRUE),
        ((1, 1, 10), (2, 0), TRUE),
    ],
)
def test_other_placeholders_are_refused(tmp_path, sides, codes, changed):
    path = save(tmp_path / "a.nii.gz", sides, sform=codes[0], qform=codes[1], **pixdim(*changed))
    assert refused(path)[0] == "spacing-contradicts"


@pytest.mark.parametrize("sform", [0, 2])
@pytest.mark.parametrize("shape", [(20, 16), (20, 16, 1), (20, 16, 1, 4)])
def test_one_slice_has_no_distance_to_the_next(tmp_path, shape, sform):
    """What stands there may be a thickness; the pixels still have to agree."""
    path = save(tmp_path / "a.nii.gz", TRUE, shape=shape, sform=sform, **pixdim(1.5625, 1.5625, 8))
    assert read_nifti(path).spacing_mm == (8, 1.5625, 1.5625)
    if sform:
        patch(path, **pixdim(1.25, 1.5625, 8))
        assert refused(path)[0] == "spacing-contradicts"


def test_frames_have_no_distance_either(tmp_path):
    path = save(tmp_path / "a.nii.gz", TRUE, **pixdim(1.5625, 1.5625, 0.04))
    assert read_nifti(path, third_axis="time").spacing_mm == (1, 1.5625, 1.5625)
    assert refused(path)[0] == "spacing-contradicts"


def test_without_codes_pixdim_counts(tmp_path):
    path = save(tmp_path / "a.nii.gz", (1, 1, 1), sform=0, qform=0, **pixdim(*TRUE))
    assert ml_of_100_voxels(path) == pytest.approx(2.44140625)
    assert read_nifti(path).remarks == ()


@pytest.mark.parametrize(
    ("units", "sides", "shape", "code"),
    [
        ("meter", (1.5625e-3, 1.5625e-3, 1e-2), (20, 16, 5), None),
        ("micron", (1562.5, 1562.5, 1e4), (20, 16, 5), None),
        ("meter", TRUE, (20, 16, 5), "spacing"),  # mm, called metres: a voxel of 1.5 m
        ("micron", TRUE, (20, 16, 5), "spacing"),
        ("meter", (0.1, 0.1, 0.1), (128, 128, 5), "spacing"),  # a field of view of 13 m
        ("mm", (40, 40, 10), (128, 128, 5), "spacing"),
        ("mm", (0.15, 0.15, 1), (128, 128, 5), "spacing"),  # cm, called mm: 19 mm wide
        ("mm", (2, 2, 100), (64, 64, 12), "spacing"),  # a stack of 1.2 m
        ("mm", (0.15, 0.15, 1), (20, 16, 5), None),  # part of an image
        ("mm", (0.5, 0.5, 0.8), (512, 512, 300), None),
        ("mm", (0.8, 0.8, 1.6), (640, 640, 160), None),
    ],
)
def test_units_and_sizes_that_cannot_be(tmp_path, units, sides, shape, code):
    path = save(tmp_path / "a.nii", sides, shape=(1, 1, 1), units=units)
    content = nib.Nifti1Header(path.read_bytes()[:348])
    content.set_data_shape(shape)
    path.write_bytes(content.binaryblock + path.read_bytes()[348:])
    if code is None:
        factor = {"meter": 1000, "micron": 1e-3, "mm": 1}[units]
        assert read_grid(path).spacing_mm == pytest.approx(tuple(factor * side for side in sides[::-1]))
        return
    with pytest.raises(InputError, match="spacing_mm=Z,Y,X") as caught:
        read_grid(path)
    assert caught.value.code == code
    assert (
        units == "mm"
        or {"meter": "metres", "micron": "micrometres"}[units] in str(caught.value)
        or "large" in str(caught.value)
    )


def test_every_orientation_has_the_sides_of_its_columns(tmp_path):
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((-1, 1), repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3)[:, order] * signs) @ np.diag(TRUE)
        nib.save(nib.Nifti1Image(np.zeros((4, 3, 2), np.uint8), affine), tmp_path / "a.nii")
        volume = read_nifti(tmp_path / "a.nii")
        np.testing.assert_allclose(volume.spacing_mm[::-1], nib.affines.voxel_sizes(affine), rtol=1e-6)
