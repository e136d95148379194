"""What is written is listed and loaded as it was."""

import numpy as np
import pytest

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.data.phantom.writers import write_acdc, write_folder, write_lvquan19, write_mmwhs2017
from foanet_jax.data.readers.acdc import list_acdc, read_acdc
from foanet_jax.data.readers.folder import list_folder
from foanet_jax.data.readers.lvquan19 import list_lvquan19, read_indices
from foanet_jax.data.readers.mmwhs2017 import list_mmwhs2017
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study
from foanet_jax.system.errors import InputError


def study_of(shape, classes, spacing_mm, affine, case="c", **fields):
    rng = np.random.default_rng(0)
    fields.setdefault("patient", case)
    return Study(
        case=case,
        voxels=rng.normal(size=shape).astype(np.float32),
        spacing_mm=spacing_mm,
        classes=classes,
        labels=rng.integers(0, len(classes), shape).astype(np.uint8),
        affine=np.array(affine, np.float64),
        **fields,
    )


def assert_same(loaded, study):
    np.testing.assert_array_equal(loaded.voxels, study.voxels)
    np.testing.assert_array_equal(loaded.labels, study.labels)
    assert loaded.labels.dtype == np.uint8
    # NIfTI keeps both in 32 bits.
    np.testing.assert_allclose(loaded.spacing_mm, study.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(loaded.affine, study.affine, rtol=1e-6)
    for field in ("patient", "case", "group", "classes"):
        assert getattr(loaded, field) == getattr(study, field)


@pytest.mark.parametrize(("row", "column"), [(1.3, 1.3), (1.3, 0.9)])
@pytest.mark.parametrize("frames", [1, 20])
def test_lvquan19(tmp_path, row, column, frames):
    affine = np.diag([column, row, 1, 1])
    study = study_of((frames, 1, 9, 7), LV_CLASSES, (1.0, row, column), affine, "patient12")
    path = write_lvquan19(study, tmp_path, 12)
    (ref,) = list_lvquan19(tmp_path)
    loaded = ref.load()
    assert_same(loaded, study)
    assert loaded.spacing_mm == study.spacing_mm
    indices = read_indices(path)
    assert set(indices) == {"areas"}
    frame = frames - 1
    np.testing.assert_allclose(indices["areas"][0, frame], (study.labels[frame] == 2).sum() * row * column)
    np.testing.assert_allclose(indices["areas"][1, frame], (study.labels[frame] == 1).sum() * row * column)


def test_mmwhs2017(tmp_path):
    affine = [[0.9, 0, 0, -50], [0, 0.8, 0, -60], [0, 0, 1.6, 20], [0, 0, 0, 1]]
    study = study_of((1, 4, 5, 6), WHOLE_HEART_CLASSES, (1.6, 0.8, 0.9), affine, "mr_train_1003")
    _, label_path = write_mmwhs2017(study, tmp_path, 1003)
    (ref,) = list_mmwhs2017(tmp_path)
    assert_same(ref.load(), study)
    assert set(np.unique(read_nifti(label_path).data)) == {0, 205, 420, 500, 550, 600, 820, 850}


@pytest.mark.parametrize("group", ["DCM", None])
def test_acdc(tmp_path, group):
    affine = [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    pair = [
        study_of((1, 4, 5, 6), ACDC_CLASSES, (10, 1.5, 1.25), affine, case, patient="patient003", group=group)
        for case in ("patient003_frame15", "patient003_frame02")
    ]
    folder = write_acdc(pair, tmp_path)
    assert (folder / "Info.cfg").read_text().startswith("ED: 15\nES: 2\n")
    assert [ref.case for ref in list_acdc(tmp_path)] == ["patient003_frame02", "patient003_frame15"]
    for loaded, study in zip(read_acdc(folder), reversed(pair), strict=True):
        assert_same(loaded, study)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (1, 4, 5, 6), (1, 1, 5, 6)])
def test_folder(tmp_path, shape):
    affine = [[0, -1.25, 0, 7], [1.5, 0, 0, -8], [0, 0, 10, 9], [0, 0, 0, 1]]
    classes = ("background", "scar", "heart")
    studies = [study_of(shape, classes, (10, 1.25, 1.5), affine, f"p{n}", group="ab"[n]) for n in range(2)]
    assert write_folder(studies, tmp_path) == tmp_path / "dataset.json"
    for ref, study in zip(list_folder(tmp_path), studies, strict=True):
        assert_same(ref.load(), study)


def test_studies_that_do_not_fit_the_layout(tmp_path):
    stack = study_of((1, 4, 5, 6), LV_CLASSES, (1, 1, 1), np.eye(4))
    heart = study_of((2, 4, 5, 6), WHOLE_HEART_CLASSES, (1, 1, 1), np.eye(4))
    acdc = study_of((1, 4, 5, 6), ACDC_CLASSES, (1, 1, 1), np.eye(4), "phantom1")
    unlabelled = Study("p", "c", stack.voxels, (1, 1, 1), LV_CLASSES)
    with pytest.raises(InputError, match="slices"):
        write_lvquan19(stack, tmp_path, 1)
    with pytest.raises(InputError, match="no labels"):
        write_lvquan19(unlabelled, tmp_path, 1)
    with pytest.raises(InputError, match="classes"):
        write_mmwhs2017(stack, tmp_path, 1001)
    with pytest.raises(InputError, match="frames"):
        write_mmwhs2017(heart, tmp_path, 1001)
    with pytest.raises(InputError, match="phantom1"):
        write_acdc([acdc, acdc], tmp_path)
    with pytest.raises(InputError, match="1 studies"):
        write_acdc([acdc], tmp_path)
    with pytest.raises(InputError, match="no labels"):
        write_folder([unlabelled], tmp_path)
    with pytest.raises(InputError, match="classes"):
        write_folder([stack, heart], tmp_path)
    with pytest.raises(InputError, match="one study per patient"):
        write_folder([Study("p", "c", stack.voxels, (1, 1, 1), LV_CLASSES, stack.labels)], tmp_path)
    with pytest.raises(InputError, match="no studies"):
        write_folder([], tmp_path)
    assert list(tmp_path.iterdir()) == []
