"""Where a mask lies in the world: predictions of a model made by hand, from files in every orientation.

The model is two real networks whose parameters are set so that the logits of class 1 are I − ½, I being the Gauss-
normalised image: it marks what is bright. The landmark is a bright tripod with three arms of different lengths, which
no swap and no reversal of axes leaves as it is.
"""

import functools
import itertools
import json
import sys

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from experiments import mmwhs2017
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.data.study import Study
from foanet_jax.jobs import prediction
from foanet_jax.jobs.studies import writing
from foanet_jax.network import init_network
from foanet_jax.settings import network_settings
from foanet_jax.system.errors import InputError
from foanet_jax.training.checkpoint import open_checkpoints
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.step import init_state, make_optimiser

SHAPE = (8, 7, 8)  # of the world's grid, RAS+
AFFINE = np.array([[2.0, 0, 0, -31], [0, 1.5, 0, 12], [0, 0, 1.25, -7], [0, 0, 0, 1]])
CORNER = AFFINE[:3] @ [1, 2, 3, 1]  # of the tripod, mm
ARMS_MM = (10.0, 6.0, 4.5)
THICK_MM = 2.2
AXES = (None, "axial", "coronal", "sagittal")
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))

WRITTEN = {"anna.nii.gz", "anna_seg.nii.gz", "anna_volumes.csv", "predictions.json", "summary.csv"}
WRITTEN |= {"summary.schema.json", "labels.txt", "labels.ctbl"}


def in_tripod(world, corner=CORNER, size=1.0):
    """Whether points (…, 3) mm lie in one of three bars from the corner along the axes of the world."""
    # A hair off the grid, so that rounding decides nothing.
    away = (np.asarray(world) - corner + 0.1) / size
    bars = [[long if axis == arm else THICK_MM for axis in range(3)] for arm, long in enumerate(ARMS_MM)]
    return np.logical_or.reduce([np.all((away >= 0) & (away <= bar), axis=-1) for bar in bars])


def world_of(shape, affine):
    """(…, 3) mm of every voxel's centre."""
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def turned(array, affine, order, signs):
    """The same voxels at the same places in the world, stored along other axes."""
    columns, origin = [], affine[:, 3].copy()
    for axis, sign in zip(order, signs, strict=True):
        columns.append(sign * affine[:, axis])
        if sign < 0:
            origin = origin + (array.shape[axis] - 1) * affine[:, axis]
    stored = array.transpose(*order)[tuple(slice(None, None, sign) for sign in signs)]
    return stored, np.stack([*columns, origin], axis=1)


def save(path, array, affine, *, codes=(0, 2), units=("mm", "sec"), dtype=np.int16):
    """A file of 0 and 300 with the codes of qform and sform; 0 leaves one out."""
    image = nib.Nifti1Image((300 * array).astype(dtype), None)
    image.header.set_qform(affine, code=codes[0])
    image.header.set_sform(affine if codes[1] else None, code=codes[1])
    image.header.set_zooms([*np.linalg.norm(affine[:3, :3], axis=0)[: array.ndim], 0.04][: array.ndim])
    image.header.set_xyzt_units(*units)
    nib.save(image, path)


def write_model(run, *, slice_axis, spacing_mm=0.0, foa=False):
    """A workdir with checkpoints of both networks, as a training leaves it."""
    config = mmwhs2017.get_config()
    config.data.cyclic = False
    config.localization.margin_px = 1
    for stage in (config.localization, config.segmentation):
        stage.network.update({"architecture": "net1", "width": 1 / 64, "side_maps": 1})
        stage.prepare.update({"spacing_mm": spacing_mm, "foa": foa and stage is config.segmentation})
    config = config.to_dict()
    for stage in NETWORKS:
        settings = network_settings(config, stage, classes=2)
        # Zeros but for five values; nothing has to be drawn at random first.
        shapes = jax.eval_shape(functools.partial(init_network, spec=settings.network), jax.random.key(0))
        variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        layers = variables["params"]
        layers["block1_conv1"]["kernel"][1, 1, 1, 0] = 1  # The slice itself, not its neighbours.
        layers["block1_conv2"]["kernel"][1, 1, 0, 0] = 1
        layers["side1"]["kernel"][1, 1, 0, 0] = 1
        layers["score"]["kernel"][0, 0, 0, 1] = 1
        layers["score"]["bias"][1] = -0.5
        state = init_state(jax.tree.map(jnp.asarray, variables), make_optimiser(settings.optimiser, 1))
        description = {
            "stage": stage,
            "classes": ["background", "tripod"],
            "slice_axis": slice_axis,
            "config": config,
        }
        with open_checkpoints(run / stage, write=True) as checkpoints:
            checkpoints.save(state, description, epoch=1, score=1.0)
    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models made once for each way to make them."""
    made = {}

    def model(slice_axis=None, **options):
        key = (slice_axis, *options.items())
        if key not in made:
            made[key] = write_model(tmp_path_factory.mktemp("model"), slice_axis=slice_axis, **options)
        return made[key]

    return model


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures would take most of the time; other tests look at them."""
    monkeypatch.setattr(writing, "draw_prediction", lambda *_: None)


@pytest.fixture
def predict(tmp_path, no_pictures):
    """Prediction of all of tmp_path/in as `--mode predict` does it: input, mask and report of each file."""

    def call(run, third_axis="slice", out="out", **options):
        source, output = tmp_path / "in", tmp_path / out
        assert (
            prediction.predict(run, source, output, third_axis=third_axis, overwrite=False, pages=False, **options) == 0
        )
        report = json.loads((output / "predictions.json").read_text())
        return [
            (nib.load(source / f"{case}.nii"), nib.load(output / f"{case}_seg.nii.gz"), report[case]) for case in report
        ]

    (tmp_path / "in").mkdir()
    return call


def assert_same_grid(mask, image):
    """The mask's file lies in the world as the image's does, by the same words."""
    assert mask.shape == image.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, image.affine, rtol=0, atol=1e-5)
    for name in ("qform_code", "sform_code", "xyzt_units", "pixdim", "srow_x", "srow_y", "srow_z", "dim"):
        np.testing.assert_array_equal(mask.header[name], image.header[name], err_msg=name)


def marked(mask, scale=1.0):
    """(N, 3) mm of what the mask marks."""
    found = np.asarray(mask.dataobj) > 0
    return world_of(mask.shape[:3], mask.affine * [[scale], [scale], [scale], [1]])[found]


def as_set(points):
    return {tuple(point) for point in np.round(points, 3).tolist()}


def write_orientations(folder, orientations=ORIENTATIONS):
    """A file for each orientation; returns the voxels of the tripod on the world's grid."""
    tripod = in_tripod(world_of(SHAPE, AFFINE))
    for order, signs in orientations:
        name = "".join("xyz"[axis] + "pn"[sign < 0] for axis, sign in zip(order, signs, strict=True))
        save(folder / f"{name}.nii", *turned(tripod, AFFINE, order, signs))
    return tripod


@pytest.mark.parametrize("slice_axis", AXES)
def test_all_48_orientations(models, predict, tmp_path, slice_axis):
    tripod = write_orientations(tmp_path / "in")
    expected = as_set(world_of(SHAPE, AFFINE)[tripod])
    assert 20 < len(expected) < tripod.size / 8
    found = predict(models(slice_axis))
    assert len({nib.aff2axcodes(image.affine) for image, _, _ in found}) == len(found) == 48
    for image, mask, _ in found:
        assert_same_grid(mask, image)
        assert as_set(marked(mask)) == expected
    # Reoriented, all 48 are one and the same image to the networks.
    boxes = {tuple(entry["box"].values()) for _, _, entry in found}
    assert (len(boxes) == 1) == (slice_axis is not None)


@pytest.mark.parametrize("slice_axis", [None, "coronal"])
def test_orientations_resized_and_focused(models, predict, tmp_path, slice_axis):
    """With an interpolation there and back the centroid stays within half a voxel, and reoriented nothing changes."""
    tripod = write_orientations(tmp_path / "in", ORIENTATIONS[::3])
    centre = world_of(SHAPE, AFFINE)[tripod].mean(axis=0)
    found = predict(models(slice_axis, spacing_mm=0.9, foa=True))
    sets = set()
    for image, mask, _ in found:
        assert_same_grid(mask, image)
        points = marked(mask)
        assert np.all(np.abs(points.mean(axis=0) - centre) < 0.5 * np.diag(AFFINE)[:3]), image.affine
        sets.add(frozenset(as_set(points)))
    if slice_axis is not None:
        assert len(sets) == 1


def test_oblique_affines(models, predict, tmp_path):
    """Any rotation and mirroring, voxel size, unit and form of the header."""
    rng = np.random.default_rng(4)
    scales, counts = [], []
    for number, rotation in enumerate(Rotation.random(12, rng)):
        spacing = rng.uniform(1.2, 2.2, 3)
        shape = np.ceil(24 / spacing).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = rotation.as_matrix() * spacing * rng.choice([-1, 1], 3)
        # The landmark in the middle, where every rotation has it inside.
        affine[:3, 3] = CORNER + 4 - affine[:3, :3] @ ((shape - 1) / 2)
        array = in_tripod(world_of(shape, affine), size=1.6)
        unit = ("mm", "meter", "micron", "unknown")[number % 4]
        scale = {"meter": 1000, "micron": 0.001}.get(unit, 1)
        codes, dtype = [((0, 2), np.int16), ((1, 0), np.float32), ((1, 4), np.uint16)][number % 3]
        in_unit = affine / [[scale], [scale], [scale], [1]]
        save(tmp_path / "in" / f"n{number}.nii", array, in_unit, codes=codes, units=(unit, "sec"), dtype=dtype)
        scales.append(scale)
        counts.append(np.count_nonzero(array))
    assert min(counts) > 20
    for slice_axis in (None, "axial"):
        found = predict(models(slice_axis), out=f"out-{slice_axis}")
        assert len(found) == 12
        # Inputs are taken in order of their numbers.
        for (image, mask, _), scale, count in zip(found, scales, counts, strict=True):
            assert_same_grid(mask, image)
            points = marked(mask, scale)
            assert in_tripod(points, size=1.6).all()
            assert len(points) == count


def test_a_qform_that_says_otherwise_stays(models, predict, tmp_path):
    """The sform counts, and both are in the mask's header as they were."""
    array = in_tripod(world_of(SHAPE, AFFINE))
    save(tmp_path / "in" / "a.nii", array, AFFINE, codes=(1, 2))
    image = nib.load(tmp_path / "in" / "a.nii")
    other = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    other.header.set_qform(AFFINE @ np.diag([-1, -1, 1, 1.0]), code=1)
    nib.save(other, tmp_path / "in" / "b.nii")
    for image, mask, _ in predict(models("sagittal")):
        assert_same_grid(mask, image)
        np.testing.assert_array_equal(mask.get_qform(), image.get_qform())
        assert as_set(marked(mask)) == as_set(world_of(SHAPE, AFFINE)[array])


@pytest.mark.parametrize("slice_axis", [None, "axial", "sagittal"])
def test_4d_cines(models, predict, tmp_path, slice_axis):
    """The landmark is elsewhere in each frame; (W, H, 1, T) and (W, H, Z, 1) keep their axes of length 1."""
    corners = [np.add(CORNER, [0, 1.5 * t, -1.25 * t]) for t in range(3)]
    frames = [in_tripod(world_of(SHAPE, AFFINE), corner) for corner in corners]
    for order, signs in (((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))):
        stored, affine = zip(*(turned(frame, AFFINE, order, signs) for frame in frames), strict=True)
        save(tmp_path / "in" / f"cine{order[0]}.nii", np.stack(stored, axis=-1), affine[0])
        save(tmp_path / "in" / f"still{order[0]}.nii", stored[0][..., None], affine[0])
    save(tmp_path / "in" / "slice.nii", np.stack(frames, axis=-1)[:, :, 4:5], AFFINE)
    found = predict(models(slice_axis))
    assert {image.shape for image, _, _ in found} == {
        (8, 7, 8, 3),
        (8, 8, 7, 3),
        (8, 7, 8, 1),
        (8, 8, 7, 1),
        (8, 7, 1, 3),
    }
    for image, mask, entry in found:
        assert_same_grid(mask, image)
        whole = "slice.nii" not in entry["source"]
        for t, frame in enumerate(frames[: image.shape[3]]):
            expected = world_of(SHAPE, AFFINE)[frame] if whole else world_of((8, 7, 1), image.affine)[frame[:, :, 4:5]]
            assert as_set(marked(mask.slicer[..., t])) == as_set(expected)


def test_cines_of_one_slice(models, predict, tmp_path):
    """(W, H, T) with `third_axis=time`, whatever axis the model slices volumes along."""
    plane = in_tripod(world_of(SHAPE, AFFINE))[:, :, 3]
    array = np.stack([np.roll(plane, -t, axis=1) for t in range(3)], axis=-1)
    array[7, 6] = True  # Apart from the greatest component of each frame.
    save(tmp_path / "in" / "a.nii", array, AFFINE)
    ((image, mask, _),) = predict(models(), third_axis="time")
    assert_same_grid(mask, image)
    expected = array.copy()
    expected[7, 6] = False
    np.testing.assert_array_equal(np.asarray(mask.dataobj) > 0, expected)
    ((_, axial, _),) = predict(models("axial"), third_axis="time", out="axial")
    np.testing.assert_array_equal(np.asarray(axial.dataobj), np.asarray(mask.dataobj))


# DICOM.


@pytest.fixture
def cine(tmp_path):
    """A tilted cine of the tripod in DICOM, in a folder of its own, and the files of frame t and slice z."""
    turn = Rotation.from_euler("xyz", [12, -8, 50], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.25, 1.5, 2.0]
    affine[:3, 3] = CORNER + 4 - affine[:3, :3] @ [10, 8, 5]
    world = world_of((21, 17, 11), affine)
    frames = [in_tripod(world, np.add(CORNER, [t, 0, -t]), size=1.6) for t in range(3)]
    assert [ndimage.label(frame)[1] for frame in frames] == [1, 1, 1]
    frames[1][:] = False
    voxels = 300 * np.stack(frames).transpose(0, 3, 2, 1).astype(np.float32)
    study = Study("p", "p", voxels, (2.0, 1.5, 1.25), ("background", "tripod"), affine=affine)
    write_dicom(study, tmp_path / "in" / "anna")
    return tmp_path / "in" / "anna", voxels > 0


@pytest.mark.usefixtures("no_pictures")
def test_dicom_becomes_nifti(models, cine, tmp_path):
    folder, bright = cine
    assert prediction.predict(models(), folder, tmp_path / "out", third_axis="slice", overwrite=False, pages=False) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    mask, image = nib.load(tmp_path / "out" / "anna_seg.nii.gz"), nib.load(tmp_path / "out" / "anna.nii.gz")
    # The image lies in the same place, by both of NIfTI's affines.
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(3, 2, 1, 0), 300 * bright)
    assert image.get_data_dtype() == np.int16
    for written in (mask, image):
        assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (2, 2)
        np.testing.assert_allclose(written.get_qform(), written.get_sform(), atol=1e-4)
        np.testing.assert_array_equal(written.header.get_zooms(), image.header.get_zooms())
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj).transpose(3, 2, 1, 0) > 0, bright)
    # Places by the files' own tags, in DICOM's LPS+.
    expected = [set() for _ in range(3)]
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        along, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        row_mm, column_mm = image.PixelSpacing
        for row, column in np.argwhere(image.pixel_array > 0):
            place = np.array(image.ImagePositionPatient, float) + column * column_mm * along + row * row_mm * down
            expected[image.TemporalPositionIdentifier - 1].add(tuple(np.round(place * [-1, -1, 1], 2).tolist()))
    for t in range(3):
        found = {tuple(point) for point in np.round(marked(mask.slicer[..., t]), 2).tolist()}
        assert len(found) == len(expected[t])
        near = (
            np.linalg.norm(np.array(sorted(found)) - np.array(sorted(expected[t])), axis=-1) if found else np.zeros(1)
        )
        assert near.max() < 0.05


@pytest.mark.usefixtures("no_pictures")
def test_dicom_segmentations_mark_the_right_images(models, cine, tmp_path):
    pytest.importorskip("highdicom")
    folder, _ = cine
    options = {"third_axis": "slice", "overwrite": False, "dicom_seg": True}
    assert prediction.predict(models(), folder, tmp_path / "out", pages=False, **options) == 0
    assert (tmp_path / "out" / "anna.nii.gz").exists()
    files = sorted((tmp_path / "out" / "anna_dicom_seg").iterdir())
    assert [path.name for path in files] == ["anna_frame1.dcm", "anna_frame3.dcm"]  # Nothing is in the second.
    images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, folder.iterdir())}
    marked_images = []
    for path in files:
        segmentation = pydicom.dcmread(path)
        assert segmentation.StudyInstanceUID == next(iter(images.values())).StudyInstanceUID
        for plane, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
            (source,) = groups.DerivationImageSequence[0].SourceImageSequence
            image = images[source.ReferencedSOPInstanceUID]
            np.testing.assert_array_equal(plane > 0, image.pixel_array > 0)
            np.testing.assert_allclose(
                np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float),
                np.array(image.ImagePositionPatient, float),
                atol=1e-4,
            )
            marked_images.append(source.ReferencedSOPInstanceUID)
    assert sorted(marked_images) == sorted(uid for uid, image in images.items() if image.pixel_array.any())
    with pytest.raises(InputError, match="--overwrite"):
        prediction.predict(models(), folder, tmp_path / "out", pages=False, **options)


@pytest.mark.usefixtures("no_pictures")
def test_what_was_segmented_before_does_not_stay(models, cine, tmp_path):
    pytest.importorskip("highdicom")
    folder, _ = cine
    stale = tmp_path / "out" / "anna_dicom_seg" / "anna_frame2.dcm"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    options = {"third_axis": "slice", "dicom_seg": True}
    with pytest.raises(InputError, match=r"anna_frame2\.dcm: exists"):
        prediction.predict(models(), folder, tmp_path / "out", overwrite=False, pages=False, **options)
    assert prediction.predict(models(), folder, tmp_path / "out", overwrite=True, pages=False, **options) == 0
    assert not stale.exists()


@pytest.mark.usefixtures("no_pictures")
def test_dicom_segmentations_that_cannot_be(models, cine, tmp_path, monkeypatch):
    options = {"third_axis": "slice", "overwrite": False, "dicom_seg": True}
    save(tmp_path / "in" / "a.nii", in_tripod(world_of(SHAPE, AFFINE)), AFFINE)
    with pytest.raises(InputError, match="not DICOM") as caught:
        prediction.predict(models(), tmp_path / "in" / "a.nii", tmp_path / "out", pages=False, **options)
    assert caught.value.code == "not-dicom"
    # An image without a frame of reference: the mask is there, the segmentation is not, and that is told.
    for path in cine[0].iterdir():
        image = pydicom.dcmread(path)
        del image.FrameOfReferenceUID
        image.save_as(path)
    pytest.importorskip("highdicom")
    assert prediction.predict(models(), cine[0], tmp_path / "half", pages=False, **options) == 1
    assert json.loads((tmp_path / "half" / "predictions.json").read_text())["anna"]["error"] == "segmentation"
    assert {path.name for path in (tmp_path / "half").iterdir()} == WRITTEN
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match="pip install highdicom"):
        prediction.predict(models(), cine[0], tmp_path / "out", pages=False, **options)
    assert not (tmp_path / "out").exists()
