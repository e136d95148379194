"""The phantoms against their own geometry, and against being too easy."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from foanet_jax.data.phantom import shared as phantom
from foanet_jax.data.phantom.short_axis import short_axis_geometry, short_axis_stack, short_axis_study
from foanet_jax.data.phantom.short_axis_heart import GROUPS
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES, WHOLE_HEART_CLASSES, Study, validate_study

PATIENTS = range(20)


@pytest.fixture(scope="module")
def cines() -> list[Study]:
    return [short_axis_study(patient, frames=5, size=192) for patient in PATIENTS]


@pytest.fixture(scope="module")
def hearts() -> list[Study]:
    return [whole_heart_study(patient) for patient in range(5)]


def _same(first: Study, second: Study) -> bool:
    assert first.labels is not None
    assert second.labels is not None
    return np.array_equal(first.voxels, second.voxels) and np.array_equal(first.labels, second.labels)


@pytest.mark.parametrize(
    ("make", "options", "shape", "classes"),
    [
        (short_axis_study, {"size": 96, "frames": 4}, (4, 1, 96, 96), LV_CLASSES),
        (short_axis_stack, {"size": 96, "slices": 5}, (1, 5, 96, 96), ACDC_CLASSES),
        (short_axis_stack, {"size": 96, "slices": 3, "frames": 2}, (2, 3, 96, 96), ACDC_CLASSES),
        (whole_heart_study, {"shape": (20, 48, 56)}, (1, 20, 48, 56), WHOLE_HEART_CLASSES),
    ],
)
def test_a_study_is_valid_reproducible_and_the_patients_own(make, options, shape, classes):
    study = validate_study(make(3, **options))
    assert study.voxels.shape == shape
    assert study.voxels.dtype == np.float32
    assert study.labels is not None
    assert study.labels.dtype == np.uint8
    assert study.classes == classes
    assert study.patient == study.case == "phantom003"
    # Rician: a magnitude.
    assert study.voxels.min() >= 0
    assert _same(study, make(3, **options))
    assert not _same(study, make(4, **options))
    assert not _same(study, make(3, seed=1, **options))


@pytest.mark.parametrize("make", [short_axis_study, short_axis_stack, whole_heart_study])
def test_the_affine_has_the_spacing_and_right_angles(make):
    study = make(2, **({"shape": (16, 32, 32)} if make is whole_heart_study else {"size": 64, "frames": 1}))
    axes = study.affine[:3, :3]
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), study.spacing_mm[::-1], rtol=1e-12)
    unit = axes / np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(unit.T @ unit, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(study.affine[3], (0, 0, 0, 1))


@pytest.mark.parametrize("patient", range(5))
def test_raster_areas_equal_the_integrals_of_the_contours(patient):
    study = short_axis_study(patient, size=320, frames=10, spacing_mm=0.65, noise=0)
    truth = short_axis_geometry(patient, frames=10)
    assert study.labels is not None
    for index, area in ((1, truth.myocardium_area_mm2), (2, truth.cavity_area_mm2)):
        raster = (study.labels[:, 0] == index).sum((1, 2)) * 0.65**2
        np.testing.assert_allclose(raster, area, rtol=0.02)
    assert truth.largest_frame == 0
    assert study.group == truth.group


def test_the_left_ventricle_beats_as_ventricles_do():
    for patient in range(60):
        truth = short_axis_geometry(patient, frames=40)
        cavity, myocardium = truth.cavity_area_mm2, truth.myocardium_area_mm2
        assert truth.largest_frame == 0
        assert 0.3 <= truth.smallest_frame / 40 <= 0.5
        assert (np.diff(cavity[: truth.smallest_frame + 1]) < 1e-6).all()
        # The cycle closes: the last step is no larger than the others.
        steps = np.abs(np.diff(np.append(cavity, cavity[0])))
        assert steps.max() < 0.16 * cavity[0]
        assert steps[-1] <= steps.max()
        # Myocardium keeps its volume, so that a slice gains what the long axis loses.
        assert (myocardium / myocardium[0]).min() > 0.95
        assert (myocardium / myocardium[0]).max() < 1.45


def test_hearts_are_healthy_and_ill():
    truths = [short_axis_geometry(patient) for patient in range(80)]
    assert {truth.group for truth in truths} == set(GROUPS)
    change = {
        group: np.mean([1 - t.cavity_area_mm2.min() / t.cavity_area_mm2.max() for t in truths if t.group == group])
        for group in GROUPS
    }
    assert change["DCM"] < 0.3 < 0.42 < change["NOR"]
    assert change["MINF"] < change["NOR"] < change["HCM"]


def test_the_cavity_lies_inside_the_myocardium(cines):
    cross = ndimage.generate_binary_structure(2, 1)[None]
    for study in cines:
        cavity, background = study.labels[:, 0] == 2, study.labels[:, 0] == 0
        assert cavity.any((1, 2)).all()
        assert not (ndimage.binary_dilation(cavity, cross) & background).any()


def test_the_septum_lies_between_the_two_ventricles():
    for patient in range(3):
        study = short_axis_stack(patient, size=128, slices=5, noise=0)
        assert study.labels is not None
        middle = study.labels[0, -1]
        right, left = (np.argwhere(middle == k).mean(0) for k in (1, 3))
        row, column = right - left
        seen = np.rad2deg(np.arctan2(column, -row)) % 360
        off = (seen - short_axis_geometry(patient).septum_deg + 180) % 360 - 180
        assert abs(off) < 15


def test_a_stack_runs_from_base_past_the_apex():
    study = short_axis_stack(1, size=128)
    assert study.labels is not None
    counts = [(study.labels[0] == k).sum((1, 2)) for k in range(4)]
    assert all(count.any() for count in counts)
    assert counts[2][-1] == counts[3][-1] == counts[1][-1] == 0
    assert counts[3][1] > counts[3][-3]
    assert 8 <= study.spacing_mm[0] <= 10


def test_a_stack_of_a_cycle_ejects_blood():
    study = short_axis_stack(0, size=96, frames=5, noise=0)
    assert study.labels is not None
    volume = (study.labels == 3).sum((1, 2, 3))
    assert volume[0] == volume.max()
    assert 0.1 < 1 - volume.min() / volume[0] < 0.85


def test_spacings_are_those_of_the_data_sets(cines):
    spacings = [study.spacing_mm[1] for study in cines]
    assert min(spacings) >= 0.68
    assert max(spacings) <= 1.56
    assert np.std(spacings) > 0.05
    assert 0.68 <= short_axis_study(0, size=512, frames=1).spacing_mm[2] <= 0.8
    assert short_axis_study(0, size=64, frames=1).spacing_mm[2] == 2.5


def test_the_heart_has_to_be_found(cines):
    offsets = []
    for study in cines:
        rows, columns = np.nonzero(study.labels[0, 0])
        half = (study.voxels.shape[-1] - 1) / 2
        offsets.append((rows.mean() - half, columns.mean() - half) * np.array(study.spacing_mm[1:]))
    assert (np.std(offsets, axis=0) > 10).all()


def test_no_global_threshold_finds_the_myocardium(cines):
    best = []
    for study in cines:
        image, truth = study.voxels[0, 0], study.labels[0, 0] == 1
        edges = np.quantile(image, np.linspace(0, 1, 25))
        bins = np.digitize(image, edges[1:-1])
        total = np.cumsum(np.r_[0, np.bincount(bins.ravel(), minlength=24)])
        hit = np.cumsum(np.r_[0, np.bincount(bins[truth], minlength=24)])
        # Every band of brightness between two of the 25 levels; a plain threshold is one that ends at 0 or 24.
        low, high = np.triu_indices(25, 1)
        best.append((2 * (hit[high] - hit[low]) / (total[high] - total[low] + truth.sum())).max())
    assert np.max(best) < 0.6


def test_a_whole_heart_has_every_class_in_every_patient(hearts):
    for study in hearts:
        voxel_ml = np.prod(study.spacing_mm) / 1000
        millilitres = np.bincount(study.labels.ravel(), minlength=8) * voxel_ml
        assert (millilitres[1:] > 8).all()
        assert 40 < millilitres[3] < 250
        # The left ventricle is open towards the left atrium and closed elsewhere by its myocardium.
        near = ndimage.binary_dilation(study.labels[0] == 3) & (study.labels[0] != 3)
        touched = np.bincount(study.labels[0][near], minlength=8) / near.sum()
        assert touched[1] > 0.6
        assert touched[2] > 0.02


def test_a_whole_heart_has_bright_blood_and_darker_myocardium(hearts):
    for study in hearts:
        assert study.voxels[study.labels == 3].mean() > 1.3 * study.voxels[study.labels == 1].mean()


def test_rician_noise_is_a_magnitude_with_a_floor():
    rng = np.random.default_rng(0)
    noisy = phantom.rician(rng, np.zeros((200, 200), np.float32), 0.1)
    assert noisy.min() >= 0
    # Without signal the magnitude is Rayleigh's: mean σ·√(π/2).
    assert noisy.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)
    clean = np.ones((4, 4), np.float32)
    np.testing.assert_array_equal(phantom.rician(rng, clean, 0), clean)


def test_an_edge_covers_half_of_the_voxel_it_passes_through():
    inside = np.array([-1, -0.25, 0, 0.25, 1], np.float32)
    np.testing.assert_allclose(phantom.coverage(inside, 1), (0, 0.25, 0.5, 0.75, 1))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (short_axis_study, {"patient": -1}, "patient=-1"),
        (short_axis_study, {"patient": 0, "seed": -2}, "seed=-2"),
        (short_axis_study, {"patient": 0, "frames": 0}, "frames=0"),
        (short_axis_study, {"patient": 0, "noise": -0.1}, "noise=-0.1"),
        (short_axis_study, {"patient": 0, "spacing_mm": 0.0}, "spacing_mm=0.0"),
        (short_axis_study, {"patient": 0, "size": 40, "spacing_mm": 1.0}, "pass a larger size or spacing"),
        (short_axis_stack, {"patient": 0, "slices": 0}, "slices=0"),
        (whole_heart_study, {"patient": 0, "shape": (8, 8)}, "pass \\(Z, H, W\\)"),
        (whole_heart_study, {"patient": 0, "spacing_mm": (1.0, 0.0, 1.0)}, "spacing_mm_row=0.0"),
        (short_axis_geometry, {"patient": 0, "frames": -3}, "frames=-3"),
    ],
)
def test_a_wrong_argument_is_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_the_geometry_is_frozen():
    truth = short_axis_geometry(0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        truth.largest_frame = 1
