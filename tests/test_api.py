"""`foanet_jax.load(RUN).predict(FILE_OR_ARRAY)` around a network whose answer is known."""

import shutil
import subprocess
import sys

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

import foanet_jax
from foanet_jax import pipeline
from foanet_jax.api import Segmenter
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.study import LV_CLASSES
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.pipeline import Model, Network
from foanet_jax.system.errors import InputError
from tests.data.dicom import export
from tests.data.dicom.test_dicom import edit

SPACING = (8.0, 1.37, 1.25)


@pytest.fixture
def segmenter(monkeypatch):
    """Brighter than the mean is class 1."""

    def bright(variables, images, spec, extent=None):
        return jnp.eye(spec.classes)[(images[..., 1] > 0).astype(int)]

    monkeypatch.setattr(pipeline, "probabilities", bright)
    network = Network(NetworkSpec("net2", 3), PrepareSpec(), {})
    return Segmenter(Model(LV_CLASSES, (), (network,), margin_px=0, cyclic=True))


@pytest.fixture(scope="module")
def eva(tmp_path_factory):
    """A patient with a short-axis cine, of which a slice was acquired twice and a frame is missing, and a long axis."""
    folder = tmp_path_factory.mktemp("dicom")
    export.series(folder, "eva", 2, export.FOUR_CHAMBERS, (6, 1, 8, 9))
    cine = export.series(folder, "eva", 4, AcquisitionTime="120000")
    again = export.series(folder / "again", "eva", 4, seed=9, AcquisitionTime="130000")
    for n, path in enumerate(again[6:12]):
        edit(path, SOPInstanceUID=f"2.999.9.{n}", InstanceNumber=90 + n)
        path.rename(cine[0].with_name(f"again{n}"))
    cine[30].unlink()
    shutil.rmtree(folder / "again")
    return folder


def test_series_repeats_and_incomplete_stacks_of_dicom(segmenter, eva):
    with pytest.raises(InputError, match="5 images at slice 6 of 6") as caught:
        segmenter.predict(eva)
    assert caught.value.code == "frame-count"
    last = segmenter.predict(eva, incomplete=True)
    assert last.mask.shape == (6, 6, 8, 9)
    assert "slice 2 was acquired twice: the last acquisition is used" in last.remarks[0]
    first = segmenter.predict(eva, incomplete=True, repeats="first")
    assert not np.array_equal(first.study.voxels[:, 1], last.study.voxels[:, 1])
    np.testing.assert_array_equal(first.study.voxels[:, 2:], last.study.voxels[:, 2:])
    assert segmenter.predict(eva, series=2).mask.shape == (6, 1, 8, 9)
    with pytest.raises(InputError, match=r"2 \(long-axis cine\), 4 \(short-axis cine\)"):
        segmenter.predict(eva, series="3")
    with pytest.raises(InputError, match="choose 'last' or 'first'"):
        segmenter.predict(eva, repeats="middle")


def square(*leading):
    image = np.zeros((*leading, 20, 24), np.int16)
    image[..., 5:12, 6:16] = 100
    return image


@pytest.mark.parametrize(
    ("leading", "third_axis", "grid"),
    [((), "slice", (1, 1)), ((3,), "slice", (1, 3)), ((3,), "time", (3, 1)), ((2, 3), "slice", (2, 3))],
)
def test_arrays_of_every_shape(segmenter, leading, third_axis, grid, tmp_path):
    image = square(*leading)
    result = segmenter.predict(image, spacing_mm=SPACING, third_axis=third_axis)
    np.testing.assert_array_equal(result.mask, image > 0)
    assert result.mask.dtype == np.uint8
    assert result.study.voxels.shape == (*grid, 20, 24)
    assert (result.classes, result.flags) == (LV_CLASSES, ())
    assert (result.box.top, result.box.right) == (0, 24)
    result.save(tmp_path / "mask.nii.gz")
    saved = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(saved.header.get_zooms()[:3], SPACING[::-1], rtol=1e-6)
    np.testing.assert_allclose(saved.affine, np.diag([1.25, 1.37, 8.0, 1.0]), rtol=1e-6)
    expected = (image > 0).reshape(*grid, 20, 24).T
    np.testing.assert_array_equal(np.asarray(saved.dataobj).reshape(expected.shape), expected)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">i2", ">f8", "<u1", "<i8", np.longdouble])
def test_arrays_of_every_type_of_real_numbers(segmenter, dtype):
    result = segmenter.predict(square(2).astype(dtype), spacing_mm=SPACING)
    np.testing.assert_array_equal(result.study.voxels, square(1, 2))
    np.testing.assert_array_equal(result.mask, square(2) > 0)


def test_a_file_and_the_mask_beside_it(segmenter, tmp_path):
    path, affine = tmp_path / "study.nii", np.diag([-1.25, 1.37, 8.0, 1.0])
    write_nifti(square(1, 3).astype(np.float32), affine=affine, spacing_mm=SPACING, path=path)
    for source, third_axis, shape in ((path, "slice", (1, 3, 20, 24)), (str(path), "time", (3, 1, 20, 24))):
        result = segmenter.predict(source, third_axis=third_axis)
        np.testing.assert_array_equal(result.mask, square(*shape[:2]) > 0)
    result.save(tmp_path / "mask.nii.gz")
    saved = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(saved.affine, nib.load(path).affine)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), square(3).T > 0)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (square(), {}, "spacing_mm is missing"),
        (square(), {"spacing_mm": (1.4, 1.4)}, "spacing"),
        (square(), {"spacing_mm": (8.0, 0.0, 1.4)}, "all three must be positive"),
        (square(), {"spacing_mm": ("a", 1, 1)}, "real numbers"),
        (np.zeros(7), {"spacing_mm": SPACING}, r"shape \(7,\)"),
        (square(1, 1, 1), {"spacing_mm": SPACING}, r"pass \(H, W\)"),
        (np.zeros((0, 4)), {"spacing_mm": SPACING}, "none empty"),
        (np.full((4, 4), np.nan), {"spacing_mm": SPACING}, "NaN"),
        (np.array([["x"]]), {"spacing_mm": SPACING}, "real numbers"),
        (square() + 1j, {"spacing_mm": SPACING}, r"complex128; voxels must be real numbers: pass its magnitude"),
        (square() > 0, {"spacing_mm": SPACING}, "bool; voxels must be real numbers: pass the image, not a mask"),
        (square().astype(object), {"spacing_mm": SPACING}, "object; voxels must be real numbers: convert it"),
        (square().astype("datetime64[s]"), {"spacing_mm": SPACING}, "convert it"),
        (np.ma.masked_equal(square(), 0), {"spacing_mm": SPACING}, "masked; fill the masked values"),
        ([[1.0, 2.0], [3.0]], {"spacing_mm": SPACING}, "one block of real numbers"),
        (np.full((4, 4), 1e300), {"spacing_mm": SPACING}, "NaN or infinite"),
        (np.eye(4) * 1e37, {"spacing_mm": SPACING}, "the greatest voxel is 1e.37"),
        (square(), {"spacing_mm": SPACING, "third_axis": "z"}, "choose 'slice' or 'time'"),
        ("study.nii", {"spacing_mm": (8.0, 1.4)}, "three real numbers"),
        ("nowhere.nii", {}, "no such file"),
    ],
)
def test_what_is_refused(segmenter, array, options, message):
    with pytest.raises(InputError, match=message):
        segmenter.predict(array, **options)


def test_a_folder_of_several_studies_is_refused(segmenter, tmp_path):
    for name in "ab":
        write_nifti(
            square(1, 2).astype(np.float32), affine=np.eye(4), spacing_mm=SPACING, path=tmp_path / f"{name}.nii"
        )
    with pytest.raises(InputError, match="2 studies"):
        segmenter.predict(tmp_path)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no checkpoints"):
        foanet_jax.load(tmp_path)


def test_importing_the_package_imports_nothing_else():
    program = "import sys, foanet_jax; foanet_jax.__version__; assert not {'jax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert foanet_jax.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = foanet_jax.nothing


def ring(slices: int = 5) -> np.ndarray:
    """A stack (Z, H, W) with a bright disc that covers 293 px of each slice."""
    rows, columns = np.mgrid[:40, :40] - 20
    return np.broadcast_to(100 * (rows**2 + columns**2 < 94), (slices, 40, 40)).astype(np.int16)


def test_a_result_has_the_numbers_of_a_prediction(segmenter):
    result = segmenter.predict(ring(), spacing_mm=(8.0, 1.5, 1.25), basal="all")
    drawn = int((result.mask == 1).sum())
    assert drawn == 5 * 293
    # One class alone: its volume by hand, and a verdict that names what is missing.
    assert result.indices[f"{LV_CLASSES[1]}_ml"] == pytest.approx(drawn * 8 * 1.5 * 1.25 / 1000)
    assert result.verdict in ("check", "reject")
    assert any(finding.code == "class-absent" for finding in result.findings)
    assert result.review is result.review


def test_slices_that_count(segmenter):
    stack = ring()
    whole = segmenter.predict(stack, spacing_mm=SPACING, basal="all")
    assert whole.mask.any((1, 2)).all()
    assert not whole.count.left_out.any()
    some = segmenter.predict(stack, spacing_mm=SPACING, slices=(2, 3))
    np.testing.assert_array_equal(some.mask[1:3], whole.mask[1:3])
    assert some.mask.any((1, 2)).tolist() == [False, True, True, False, False]
    assert some.count.left_out.tolist() == [[True, False, False, True, True]]
    np.testing.assert_array_equal(some.prediction.mask[0], some.mask)
    with pytest.raises(InputError, match="there are 5 slices, counted from 1"):
        segmenter.predict(stack, spacing_mm=SPACING, slices="2-6")
    with pytest.raises(InputError, match="choose 'scmr' or 'all'"):
        segmenter.predict(stack, spacing_mm=SPACING, basal="none")


def test_short_representations(segmenter):
    result = segmenter.predict(ring(), spacing_mm=(8.0, 1.5, 1.25))
    assert repr(result).startswith("Result('array', 1×5×40×40 (T, Z, H, W), ")
    assert repr(result).endswith(f"{result.verdict})")
    assert repr(segmenter) == f"Segmenter({', '.join(LV_CLASSES[1:])})"
    assert len(repr(result)) < 200


def oblique(spacing=(1.25, 1.5, 8.0)) -> np.ndarray:
    """An affine (4, 4) of a short axis, RAS+ mm."""
    columns, rows = np.array([0.8, 0.6, 0.0]), np.array([0.36, -0.48, -0.8])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([columns, rows, np.cross(columns, rows)], axis=1) * spacing
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.mark.parametrize("shape", [(24, 20, 3), (24, 20, 3, 4), (24, 20)])
def test_images_of_nibabel_as_they_are(segmenter, tmp_path, shape):
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image = nib.Nifti1Image(voxels, oblique())
    image.header.set_xyzt_units("mm", "unknown")
    path = tmp_path / "study.nii.gz"
    nib.save(image, path)
    found, expected = segmenter.predict(image, basal="all"), segmenter.predict(path, basal="all")
    assert found.mask.shape == shape
    assert found.study.source is None
    np.testing.assert_array_equal(found.prediction.mask, expected.mask)
    np.testing.assert_array_equal(found.mask.reshape(expected.mask.T.shape), expected.mask.T)
    np.testing.assert_allclose(found.study.affine, expected.study.affine)
    found.save(tmp_path / "mask.nii")
    saved = nib.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), found.mask)
    np.testing.assert_allclose(saved.affine, image.affine, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 20, 24), (4, 3, 20, 24), (20, 24)])
def test_images_of_simpleitk_as_they_are(segmenter, tmp_path, shape):
    voxels = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    image = SimpleITK.GetImageFromArray(voxels, isVector=False)
    dimensions = len(shape)
    affine = np.diag([-1, -1, 1, 1]) @ oblique()  # LPS+
    direction, origin = np.eye(dimensions), np.zeros(dimensions)
    if dimensions > 2:
        direction[:3, :3], origin[:3] = affine[:3, :3] / (1.25, 1.5, 8.0), affine[:3, 3]
    image.SetSpacing((1.25, 1.5, 8.0, 1.0)[:dimensions])
    image.SetDirection(direction.ravel())
    image.SetOrigin(origin)
    path = tmp_path / "study.nii.gz"
    SimpleITK.WriteImage(image, path)
    found, expected = segmenter.predict(image, basal="all"), segmenter.predict(path, basal="all")
    assert found.mask.shape == shape
    np.testing.assert_array_equal(found.mask.reshape(expected.mask.shape), expected.mask)
    np.testing.assert_allclose(found.study.affine, expected.study.affine, atol=1e-4)
    assert found.study.spacing_mm == pytest.approx(expected.study.spacing_mm)


def test_images_without_real_numbers_are_refused(segmenter):
    colours = SimpleITK.GetImageFromArray(np.zeros((3, 20, 24, 3), np.float32), isVector=True)
    with pytest.raises(InputError, match="has 3 numbers in each voxel"):
        segmenter.predict(colours)
    with pytest.raises(InputError, match="type complex64; pass an image of real numbers"):
        segmenter.predict(nib.Nifti1Image(np.zeros((4, 4, 2), np.complex64), np.eye(4)))
