"""MM-WHS2017's files, in orientations of their own."""

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.write import write_mask
from foanet_jax.data.readers.mmwhs2017 import LABEL_VALUES, list_mmwhs2017
from foanet_jax.data.study import WHOLE_HEART_CLASSES
from foanet_jax.system.errors import InputError

# Columns towards the feet, rows towards the back, slices towards the left.
AFFINE = np.array([[0, 0, -1.6, 10], [0, -0.8, 0, 20], [-0.9, 0, 0, 30], [0, 0, 0, 1]])


def write_case(folder, number, values=LABEL_VALUES, affine=AFFINE, label_affine=AFFINE):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 500, (6, 5, 4)).astype(np.int16)
    labels = rng.choice(values, (6, 5, 4)).astype(np.int16)
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(image, affine), folder / f"mr_train_{number}_image.nii.gz")
    nib.save(nib.Nifti1Image(labels, label_affine), folder / f"mr_train_{number}_label.nii.gz")
    return image, labels


@pytest.mark.parametrize("inside", ["", "mr_train"])
@pytest.mark.parametrize(
    ("slice_axis", "shape", "spacing_mm"),
    [
        ("axial", (1, 6, 5, 4), (0.9, 0.8, 1.6)),
        ("coronal", (1, 5, 6, 4), (0.8, 0.9, 1.6)),
        ("sagittal", (1, 4, 6, 5), (1.6, 0.9, 0.8)),
    ],
)
def test_reoriented_and_back(tmp_path, inside, slice_axis, shape, spacing_mm):
    _, labels = write_case(tmp_path / inside, 1001)
    (ref,) = list_mmwhs2017(tmp_path, slice_axis=slice_axis)
    study = ref.load()
    assert (study.patient, study.case, study.classes) == ("mr_train_1001", "mr_train_1001", WHOLE_HEART_CLASSES)
    assert study.voxels.shape == shape
    np.testing.assert_allclose(study.spacing_mm, spacing_mm, rtol=1e-6)
    write_mask(study.labels, study, tmp_path / "mask.nii.gz")
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, nib.load(study.source).affine)
    np.testing.assert_array_equal(np.array(LABEL_VALUES)[np.asarray(mask.dataobj)], labels)


def test_axial_slices_by_hand(tmp_path):
    image, _ = write_case(tmp_path, 1001)
    study = list_mmwhs2017(tmp_path)[0].load()
    np.testing.assert_array_equal(study.voxels[0], image[::-1, ::-1, ::-1])


def test_421_means_420(tmp_path):
    write_case(tmp_path, 1010, values=(0, 420, 421))
    labels = list_mmwhs2017(tmp_path)[0].load().labels
    assert set(np.unique(labels)) == {0, 2}
    write_case(tmp_path, 1010, values=(0, 422))
    with pytest.raises(InputError, match="422") as caught:
        list_mmwhs2017(tmp_path)[0].load()
    assert caught.value.code == "unknown-label"


def test_labels_of_another_world(tmp_path):
    shifted = AFFINE.copy()
    shifted[0, 3] += 3
    write_case(tmp_path, 1001, label_affine=shifted)
    with pytest.raises(InputError) as caught:
        list_mmwhs2017(tmp_path)[0].load()
    assert caught.value.code == "affine-mismatch"


def test_all_missing_labels_are_named(tmp_path):
    for number in (1001, 1002, 1003):
        write_case(tmp_path, number)
    assert [ref.case for ref in list_mmwhs2017(tmp_path)] == ["mr_train_1001", "mr_train_1002", "mr_train_1003"]
    for number in (1001, 1003):
        (tmp_path / f"mr_train_{number}_label.nii.gz").unlink()
    with pytest.raises(InputError, match=r"(?s)1001_label.*1003_label"):
        list_mmwhs2017(tmp_path)
    with pytest.raises(InputError, match="oblique"):
        list_mmwhs2017(tmp_path, slice_axis="oblique")
