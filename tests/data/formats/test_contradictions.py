"""Other formats whose header has two spacings: the rule of NIfTI files, with the same remedy."""

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.nifti.file import read_nifti
from foanet_jax.system.errors import InputError
from tests.data.formats.test_formats import meta, nrrd

RIGHT = (8.0, 1.5, 1.25)


def refused(path):
    with pytest.raises(InputError) as caught:
        read_nifti(path)
    assert str(path) in str(caught.value)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("spacings", ["1.25 1.5 8", "nan nan nan", "1.25 1.5 8.001", "0 0 0", "1.25 1.5"])
def test_spacings_of_nrrd_that_agree_or_say_nothing(tmp_path, spacings):
    assert read_nifti(nrrd(tmp_path / "a.nrrd", spacings=spacings)).spacing_mm == pytest.approx(RIGHT, rel=1e-6)


@pytest.mark.parametrize("spacings", ["1.25 1.5 6", "1 1 1", "nan nan 10", "8 1.5 1.25"])
def test_spacings_of_nrrd_that_contradict_its_directions(tmp_path, spacings):
    path = nrrd(tmp_path / "a.nrrd", spacings=spacings)
    code, message = refused(path)
    assert code == "spacing-contradicts"
    assert "its spacing has voxels of" in message
    assert "the matrix of directions of 8 × 1.5 × 1.25" in message
    volume = read_nifti(path, spacing_mm=(10, 1.5, 1.25))
    np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), (1.25, 1.5, 10), rtol=1e-6)
    assert volume.spacing_mm == pytest.approx((10, 1.5, 1.25))


def test_a_matrix_of_metaimage_that_has_lengths_of_its_own(tmp_path):
    assert read_nifti(meta(tmp_path / "a.mha")).spacing_mm == RIGHT
    path = meta(tmp_path / "b.mha", TransformMatrix="1 0 0 0 1 0 0 0 0.75")
    code, message = refused(path)
    assert code == "spacing-contradicts"
    assert "8 × 1.5 × 1.25 mm" in message
    assert "6 × 1.5 × 1.25 mm" in message
    assert read_nifti(path, spacing_mm=RIGHT).spacing_mm == RIGHT


def analyze(path, unit=b"mm", pixdim=RIGHT[::-1]):
    image = nib.Spm2AnalyzeImage(np.ones((4, 5, 3), np.int16), np.eye(4))
    image.to_filename(path)
    header = nib.Spm2AnalyzeImage.header_class(path.with_suffix(".hdr").read_bytes(), check=False)
    header["vox_units"], header["pixdim"][1:4] = unit, pixdim
    path.with_suffix(".hdr").write_bytes(header.binaryblock)
    path.with_suffix(".mat").unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("unit", [b"mm", b"", b"mm\0x", b"x"])
def test_analyze_has_one_spacing(tmp_path, unit):
    volume = read_nifti(analyze(tmp_path / "a.img", unit))
    assert volume.spacing_mm == RIGHT
    np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), RIGHT[::-1])


@pytest.mark.parametrize("unit", [b"cm", b"m", b"um", b"IN"])
def test_analyze_in_another_unit(tmp_path, unit):
    code, message = refused(analyze(tmp_path / "a.img", unit).with_suffix(".hdr"))
    assert code == "spacing"
    assert f"in {unit.decode().lower()};" in message
