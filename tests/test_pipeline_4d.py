"""4D cines, slices and frames at once: read, segmented frame by frame and written back as they came."""

import dataclasses

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.data.catalogue import open_catalogue, read_input
from foanet_jax.data.nifti.write import write_mask, write_nifti
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, Study
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.network import NetworkSpec
from foanet_jax.pipeline import Model, Network, predict_study
from foanet_jax.system.errors import InputError

SHAPE = (4, 3, 80, 64)  # T, Z, H, W
SPACING = (8.0, 1.37, 1.25)


def beating(shape=SHAPE):
    """Intensities that are the labels: a ring and its cavity, of another size and place in every frame and slice."""
    labels = np.zeros(shape, np.uint8)
    rows, columns = np.indices(shape[2:])
    for t, z in np.ndindex(shape[:2]):
        distance = np.hypot(rows - 40 - 2 * z, columns - 30 - t)
        labels[t, z][distance <= 15 - t - z] = 1
        labels[t, z][distance <= 9 - t - z] = 2
    return labels


def study_of(labels):
    return Study("p", "p", labels.astype(np.float32), SPACING, LV_CLASSES, labels)


def label_of(images, spec, extent):
    """The label of each pixel by its brightness in the middle channel: 0 < ring < cavity."""
    middle = images[..., 1]
    inside = (jnp.arange(middle.shape[1])[:, None] < extent[0, 0]) & (jnp.arange(middle.shape[2]) < extent[0, 1])
    low, high = jnp.min(jnp.where(inside, middle, jnp.inf)), jnp.max(jnp.where(inside, middle, -jnp.inf))
    level = jnp.minimum(jnp.round(2 * (middle - low) / (high - low)).astype(int), spec.classes - 1)
    return jnp.where(inside, level, 0)


def model(*, cyclic=True, foa=False):
    return Model(
        LV_CLASSES,
        (Network(NetworkSpec("net1", 2), PrepareSpec(), {}),),
        (Network(NetworkSpec("net2", 3), PrepareSpec(foa=foa), {}),),
        margin_px=10,
        cyclic=cyclic,
    )


@pytest.fixture
def seen(monkeypatch):
    """Networks that know the answer; what they were shown is kept."""
    batches = []

    def oracle(variables, images, spec, extent=None):
        batches.append((spec.classes, np.asarray(images)))
        return jnp.eye(spec.classes)[label_of(images, spec, extent)]

    monkeypatch.setattr(pipeline, "probabilities", oracle)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)  # Of several, each would see its own images.
    return batches


@pytest.mark.parametrize("memory_bytes", [1, 10**9, 10**12])
@pytest.mark.usefixtures("seen")
def test_every_voxel_of_every_frame_comes_back(memory_bytes):
    labels = beating()
    found = predict_study(study_of(labels), model(), memory_bytes=memory_bytes)
    assert found.mask.shape == SHAPE
    np.testing.assert_array_equal(found.mask, labels)
    assert len(found.slice_boxes) == SHAPE[0] * SHAPE[1]
    assert found.flags == ()


@pytest.mark.parametrize("cyclic", [True, False])
def test_neighbours_run_over_time_in_each_slice(seen, cyclic):
    labels = beating()
    predict_study(study_of(labels), model(cyclic=cyclic))
    images = np.concatenate([images for classes, images in seen if classes == 2])  # Net.1's, on whole frames
    frames, slices = SHAPE[:2]
    stacks = images[: frames * slices].reshape(frames, slices, *images.shape[1:])
    for t, z in np.ndindex(frames, slices):
        before, after = ((t - 1) % frames, (t + 1) % frames) if cyclic else (max(t - 1, 0), min(t + 1, frames - 1))
        for channel, frame in enumerate((before, t, after)):
            np.testing.assert_array_equal(stacks[t, z, ..., channel], stacks[frame, z, ..., 1])


@pytest.mark.usefixtures("seen")
def test_the_greatest_component_is_that_of_each_frames_volume():
    labels = beating()
    voxels = labels.astype(np.float32)
    voxels[1, 0, 60:62, 30:32] = 2  # inside the box, apart from the heart of this frame alone
    found = predict_study(dataclasses.replace(study_of(labels), voxels=voxels), model())
    np.testing.assert_array_equal(found.mask, labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.usefixtures("seen")
def test_a_4d_file_becomes_a_4d_mask_of_its_shape_and_affine(tmp_path, suffix):
    labels = beating()
    affine = np.array([[0, -1.37, 0, 10], [-1.25, 0, 0, -20], [0, 0, 8, 30], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(labels.astype(np.float32).T, affine)
    image.header["pixdim"][1:5] = (1.25, 1.37, 8, 0.04)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / f"cine{suffix}")
    (ref,) = read_input(tmp_path / f"cine{suffix}", classes=LV_CLASSES)
    study = ref.load()
    assert study.voxels.shape == SHAPE
    write_mask(predict_study(study, model()).mask, study, tmp_path / f"mask{suffix}")
    mask = nib.load(tmp_path / f"mask{suffix}")
    assert mask.shape == image.shape == SHAPE[::-1]
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, nib.load(tmp_path / f"cine{suffix}").affine)
    np.testing.assert_allclose(mask.header.get_zooms(), (1.25, 1.37, 8, 0.04), rtol=1e-6)
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels.T)


@pytest.mark.usefixtures("seen")
def test_reoriented_4d_files_go_back_too(tmp_path):
    labels = beating()
    affine = np.diag([-1.25, -1.37, 8, 1])
    nib.save(nib.Nifti1Image(labels.astype(np.float32).T, affine), tmp_path / "cine.nii")
    (ref,) = read_input(tmp_path / "cine.nii", classes=LV_CLASSES, slice_axis="axial")
    study = ref.load()
    np.testing.assert_array_equal(study.voxels, labels[:, :, ::-1, ::-1])
    write_mask(predict_study(study, model()).mask, study, tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), labels.T)


def acdc_patient(root, number, *, cine=True):
    patient = f"patient{number:03d}"
    labels = beating()
    for frame in (1, 3):
        for ending, array in (("", labels.astype(np.float32)), ("_gt", labels)):
            path = root / patient / f"{patient}_frame{frame:02d}{ending}.nii.gz"
            write_nifti(array[frame - 1 : frame], affine=np.eye(4), spacing_mm=SPACING, path=path)
    (root / patient / "Info.cfg").write_text("ED: 1\nES: 3\nGroup: NOR\n")
    if cine:
        path = root / patient / f"{patient}_4d.nii.gz"
        write_nifti(labels.astype(np.float32), affine=np.eye(4), spacing_mm=SPACING, path=path)


def test_acdcs_cines_are_one_study_a_patient_and_without_labels(tmp_path):
    acdc_patient(tmp_path, 1)
    acdc_patient(tmp_path, 2, cine=False)
    acdc_patient(tmp_path, 3)
    refs = open_catalogue("acdc", tmp_path, frames="cine")
    assert [(ref.patient, ref.case, ref.group) for ref in refs] == [
        ("patient001", "patient001_4d", "NOR"),
        ("patient003", "patient003_4d", "NOR"),
    ]
    study = refs[0].load()
    assert (study.case, study.group, study.labels, study.classes) == ("patient001_4d", "NOR", None, ACDC_CLASSES)
    np.testing.assert_array_equal(study.voxels, beating())
    assert study.spacing_mm == pytest.approx(SPACING)
    assert len(list_acdc(tmp_path)) == 6  # what trains is as it was


def test_acdc_without_a_cine(tmp_path):
    acdc_patient(tmp_path, 1, cine=False)
    with pytest.raises(InputError, match="patientXXX_4d"):
        list_acdc(tmp_path, frames="cine")
    with pytest.raises(InputError, match="choose 'labelled' or 'cine'"):
        list_acdc(tmp_path, frames="all")


def test_the_real_cine(shared_data, tmp_path, monkeypatch):
    """Brighter than the median is class 1: not a heart, but every frame and slice keeps its place."""

    def bright(variables, images, spec, extent=None):
        return jnp.eye(spec.classes)[(images[..., 1] > 0).astype(int)]

    monkeypatch.setattr(pipeline, "probabilities", bright)
    root = shared_data("acdc")
    (ref,) = list_acdc(root, frames="cine")
    study = ref.load()
    assert study.voxels.shape == (12, 7, 224, 154)
    for frame in (4, 11):
        labelled = next(r for r in list_acdc(root / "patient090") if r.case == f"patient090_frame{frame:02d}").load()
        np.testing.assert_array_equal(study.voxels[frame - 1], labelled.voxels[0])
    small = Model(
        ACDC_CLASSES, (), (Network(NetworkSpec("net2", 4), PrepareSpec(spacing_mm=4.0), {}),), margin_px=10, cyclic=True
    )
    mask = predict_study(study, small).mask
    assert mask.shape == study.voxels.shape
    assert all(frame.any() for frame in mask)
    write_mask(mask, study, tmp_path / "mask.nii.gz")
    ours, theirs = nib.load(tmp_path / "mask.nii.gz"), nib.load(root / "patient090" / "patient090_4d.nii.gz")
    assert ours.shape == theirs.shape == (154, 224, 7, 12)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    np.testing.assert_array_equal(ours.header["pixdim"], theirs.header["pixdim"])
    np.testing.assert_array_equal(np.asarray(ours.dataobj), mask.transpose(3, 2, 1, 0))


def cine_of(frames):
    """A beating study whose networks doubt: the maps are soft, and those of one frame are wrong in places."""
    return study_of(beating((frames, *SHAPE[1:])))


@pytest.fixture
def doubting(monkeypatch):
    """Networks that are not sure, so that averages differ from single frames."""

    def doubtful(variables, images, spec, extent=None):
        level = label_of(images, spec, extent)
        noise = jnp.abs(jnp.sin(1e3 * images[..., 1:2] + jnp.arange(images.shape[2])[:, None]))
        sure = jax.nn.one_hot(level, spec.classes) * (0.55 + 0.4 * noise) + 0.1
        return sure / sure.sum(-1, keepdims=True)

    monkeypatch.setattr(pipeline, "probabilities", doubtful)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.usefixtures("doubting")
def test_few_frames_are_not_averaged(frames):
    still, moving = model(), dataclasses.replace(model(), temporal="motion")
    np.testing.assert_array_equal(
        predict_study(cine_of(frames), moving).mask, predict_study(cine_of(frames), still).mask
    )


@pytest.mark.usefixtures("doubting")
def test_averaged_maps_do_not_depend_on_the_memory_and_keep_the_confidence(monkeypatch):
    study, moving = cine_of(6), dataclasses.replace(model(), temporal="motion")
    seen = []
    original = pipeline.along_motion
    monkeypatch.setattr(pipeline, "along_motion", lambda *given: seen.append(len(given[0])) or original(*given))
    found = [predict_study(study, moving, memory_bytes=memory) for memory in (1, 10**9)]
    assert set(seen) == {5}
    np.testing.assert_array_equal(found[0].mask, found[1].mask)
    assert found[1].confidence == predict_study(study, model()).confidence
    assert found[1].mask.any()
