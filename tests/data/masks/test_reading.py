"""Masks that other programs stored: on the grid of the image whatever their axes, or refused with both grids."""

import dataclasses
import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from foanet_jax.data.dicom import find_dicom, write_mask_dicom_seg
from foanet_jax.data.dicom.wanted import Wanted
from foanet_jax.data.masks import MaskFile, read_mask
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.system.errors import InputError
from tests.data.dicom.export import series
from tests.data.masks.drawn import SPACING, mask_of, study, write, write_slicer

NAMED = {1: "right ventricle", 2: "myocardium", 3: "cavity"}


def read(path, a_study, *, frame=None, class_of=None, **options):
    file = MaskFile(path, frame, class_of or NAMED, named=True)
    return read_mask([file], a_study, ACDC_CLASSES, **options)


def refused(path, a_study, **options):
    with pytest.raises(InputError) as caught:
        read(path, a_study, **options)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_flipped_and_exchanged_axes_are_put_back(tmp_path, order):
    image = study((1, 4, 9, 7))
    mask = mask_of(image)
    stored = nib.Nifti1Image(mask[0].transpose(2, 1, 0), image.affine)
    for signs in itertools.product((1, -1), repeat=3):
        orientation = np.column_stack([order, signs])
        turned = stored.as_reoriented(orientation)  # nibabel moves the affine too.
        turned.to_filename(tmp_path / "m.nii.gz")
        np.testing.assert_array_equal(read(tmp_path / "m.nii.gz", image), mask)


def test_the_placeholder_affine_of_acdc_is_the_grid_that_itk_writes(tmp_path):
    """In ACDC's files the affine has sides of 1; SimpleITK writes the sides of pixdim into what it saves."""
    image = study((1, 4, 9, 7), affine=np.eye(4))
    mask = mask_of(image)
    path = write(image, mask, tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read(path, image), mask)
    made = SimpleITK.ReadImage(str(path))
    assert made.GetSpacing() == pytest.approx(SPACING[::-1])
    for name in ("m.nrrd", "m.mha", "n.nii.gz"):
        SimpleITK.WriteImage(made, str(tmp_path / name))
        np.testing.assert_array_equal(read(tmp_path / name, image), mask)


def test_another_grid_is_refused_with_both_grids(tmp_path):
    image = study((1, 4, 9, 7))
    moved = image.affine.copy()
    moved[:3, 3] += moved[:3, 1]  # by one row
    path = write(dataclasses.replace(image, affine=moved), mask_of(image), tmp_path / "m.nii.gz")
    error = refused(path, image)
    assert error.code == "affine-mismatch"
    assert str(error).count("7 × 9 × 4 voxels of 1.25 × 1.5 × 8 mm from (") == 2
    finer = dataclasses.replace(image, spacing_mm=(8.0, 1.5, 1.0))
    path = write(finer, mask_of(image), tmp_path / "f.nii.gz")
    assert refused(path, dataclasses.replace(image, affine=np.diag([1.25, 1.5, 8, 1.0]))).code != ""
    smaller = write(image, mask_of(image)[:, :3], tmp_path / "s.nii.gz")
    assert refused(smaller, image).code == "shape-mismatch"


def test_rounding_of_the_position_is_no_other_grid(tmp_path):
    image = study((1, 4, 9, 7))
    affine = image.affine.copy()
    affine[:3, 3] += 0.05
    path = write(dataclasses.replace(image, affine=affine), mask_of(image), tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read(path, image), mask_of(image))


def test_labels_that_are_no_classes(tmp_path):
    image = study((1, 4, 9, 7))
    blurred = mask_of(image).astype(np.float32)
    blurred[0, 1, 2, 3] = 1.4
    error = refused(write(image, blurred, tmp_path / "m.nii.gz"), image)
    assert error.code == "unknown-label"
    assert "1.4" in str(error)
    nearly = mask_of(image).astype(np.float32) * np.float32(0.9999)
    np.testing.assert_array_equal(read(write(image, nearly, tmp_path / "n.nii.gz"), image), mask_of(image))
    path = write(image, mask_of(image) + np.uint8(1), tmp_path / "o.nii.gz")
    assert "unknown label 4" in str(refused(path, image))


def test_two_values_without_names_are_not_guessed(tmp_path):
    """1 and 2 are the myocardium and the cavity of one data set, and the right ventricle and myocardium of another."""
    image = study((1, 4, 9, 7))
    path = write(image, mask_of(image) % 3, tmp_path / "m.nii.gz")
    with pytest.raises(InputError, match="--labels=myocardium:1,cavity:2"):
        read_mask([MaskFile(path)], image, ACDC_CLASSES)
    found = read(path, image, class_of={1: "myocardium", 2: "cavity"})
    np.testing.assert_array_equal(found, np.array([0, 2, 3], np.uint8)[mask_of(image) % 3])


def test_frames_of_a_cine(tmp_path):
    image = study((3, 4, 9, 7))
    mask = mask_of(image)
    np.testing.assert_array_equal(read(write(image, mask, tmp_path / "m.nii.gz"), image), mask)
    path = write(image, mask[1:2], tmp_path / "p1_frame02.nii.gz")
    found = read(path, image, frame=1)
    np.testing.assert_array_equal(found[1], mask[1])
    assert not found[[0, 2]].any()
    assert refused(path, image).code == "shape-mismatch"
    assert refused(path, image, frame=3).code == "frame"
    still = study((1, 4, 9, 7))
    path = write(still, mask_of(still), tmp_path / "p1_frame02.nii.gz")
    assert refused(path, still, frame=1).code == "frame"


SEGMENTS = [("RV", 1, 0), ("Myo", 2, 0), ("LV", 3, 0)]


def test_slicer_in_one_layer(tmp_path):
    image = study((1, 4, 9, 7))
    mask = mask_of(image)
    np.testing.assert_array_equal(read(write_slicer(tmp_path / "m.seg.nrrd", mask, image, SEGMENTS), image), mask)


def test_slicer_in_several_layers(tmp_path):
    """Values repeat in the layers; the segments are numbered in their order."""
    image = study((1, 4, 9, 7))
    mask = mask_of(image)[0]
    layers = np.stack([np.where(mask == 1, 1, 0) + np.where(mask == 3, 2, 0), mask == 2]).astype(np.uint8)
    segments = [("RV", 1, 0), ("Myo", 1, 1), ("LV", 2, 0)]
    path = write_slicer(tmp_path / "m.seg.nrrd", layers, image, segments)
    np.testing.assert_array_equal(read(path, image)[0], mask)
    layers[1, 0, 0] = 1
    assert np.count_nonzero((layers[0] > 0) & (layers[1] > 0))
    error = refused(write_slicer(path, layers, image, segments), image)
    assert error.code == "overlapping"
    assert "RV and Myo overlap" in str(error)


def test_slicer_cropped_to_the_segments(tmp_path):
    image = study((1, 4, 9, 7))
    mask = mask_of(image)
    whole = np.zeros_like(mask)
    whole[:, 1:3, 2:8, 1:5] = mask[:, 1:3, 2:8, 1:5]
    path = write_slicer(tmp_path / "m.seg.nrrd", mask[:, 1:3, 2:8, 1:5].copy(), image, SEGMENTS, first=(1, 2, 1))
    np.testing.assert_array_equal(read(path, image), whole)
    path = write_slicer(tmp_path / "m.seg.nrrd", mask, image, SEGMENTS, first=(1, 0, 0))
    assert refused(path, image).code == "affine-mismatch"


@pytest.fixture
def cine(tmp_path):
    pytest.importorskip("highdicom")
    series(tmp_path / "in", "eva", 4, shape=(3, 5, 8, 9))
    (ref,) = find_dicom(tmp_path / "in", wanted=Wanted(series=("all",)), classes=ACDC_CLASSES).refs
    return ref.load()


def test_dicom_segmentations_come_back(tmp_path, cine):
    """References say the frame, positions say the slice, also where empty slices and frames were left out."""
    mask = mask_of(cine)
    mask[1, [0, 3]] = 0
    mask[2] = 0
    paths = write_mask_dicom_seg(mask, cine, tmp_path / "x.dcm")
    found = read_mask([MaskFile(path, None, NAMED, True) for path in paths], cine, ACDC_CLASSES)
    np.testing.assert_array_equal(found, mask)


def test_one_dicom_segmentation_of_a_whole_cine(tmp_path, cine):
    """Its planes lie at the same positions in every frame; the references tell them apart."""
    mask = mask_of(cine)
    mask[1, [0, 3]] = 0
    (path,) = write_mask_dicom_seg(mask, cine, tmp_path / "x.dcm", whole_cine=True)
    np.testing.assert_array_equal(read(path, cine), mask)


def test_dicom_segmentations_on_an_image_without_references(tmp_path, cine):
    mask = mask_of(cine)
    paths = write_mask_dicom_seg(mask, cine, tmp_path / "x.dcm")
    for axes in ((), (1,), (2, 3)):
        affine = cine.affine.copy()
        for axis in axes:
            column = 3 - axis
            affine[:3, 3] += affine[:3, column] * (cine.voxels.shape[axis] - 1)
            affine[:3, column] *= -1
        copy = dataclasses.replace(cine, voxels=np.flip(cine.voxels, axes), affine=affine, header=None)
        assert refused(paths[0], copy).code == "frame"
        files = [MaskFile(path, frame, NAMED, True) for frame, path in enumerate(paths)]
        np.testing.assert_array_equal(read_mask(files, copy, ACDC_CLASSES), np.flip(mask, axes))
    moved = cine.affine.copy()
    moved[:3, 3] += 2
    assert refused(paths[0], dataclasses.replace(cine, affine=moved)).code == "affine-mismatch"


def test_overlapping_dicom_segments(tmp_path, cine):
    highdicom = pytest.importorskip("highdicom")
    from tests.data.masks.overlapping import write_overlapping

    path = write_overlapping(cine, tmp_path / "x.dcm", highdicom)
    error = refused(path, cine)
    assert error.code == "overlapping"
    assert "myocardium" in str(error)
