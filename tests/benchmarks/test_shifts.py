"""Shifts worked by hand, or with the property that they are named after."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks import robustness, shifted
from experiments import phantom
from foanet_jax.data import shifts
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.shifts import SHIFTS
from foanet_jax.data.study import LV_CLASSES, Study, validate_study
from foanet_jax.image.prepare import PrepareSpec
from foanet_jax.jobs.experiment import training
from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.pipeline import Model, Network, Prediction, predict_study
from foanet_jax.system.errors import InputError
from tests.test_end_to_end import tiny


def study_of(voxels, labels=None, spacing_mm=(8.0, 1.0, 2.0)):
    voxels = np.asarray(voxels, np.float32)
    labels = (voxels > voxels.mean()).astype(np.uint8) if labels is None else np.asarray(labels, np.uint8)
    return Study("p", "p", voxels, spacing_mm, LV_CLASSES, labels)


def counted(*shape):
    return study_of(np.arange(np.prod(shape)).reshape(shape))


STACK = short_axis_stack(3, size=64, slices=4)


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_every_shift_is_a_study_and_a_function_of_its_key(shift):
    for strength in shift.strengths:
        one = validate_study(shift.apply(STACK, strength, (5, 1)))
        again = shift.apply(STACK, strength, (5, 1))
        assert one.voxels.dtype == np.float32
        assert one.labels.dtype == np.uint8
        np.testing.assert_array_equal(one.voxels, again.voxels)
        np.testing.assert_array_equal(one.labels, again.labels)
        changed = one.voxels.shape != STACK.voxels.shape or not np.array_equal(one.voxels, STACK.voxels)
        assert changed or one.spacing_mm != STACK.spacing_mm
        if shift.pool:
            continue
        unlabelled = shift.apply(dataclasses.replace(STACK, labels=None), strength, (5, 1))
        assert unlabelled.labels is None
        np.testing.assert_array_equal(unlabelled.voxels, one.voxels)
    same = shift.apply(STACK, shift.neutral, (5, 1))
    np.testing.assert_array_equal(same.labels, STACK.labels)
    np.testing.assert_allclose(same.voxels, STACK.voxels, rtol=1e-5, atol=1e-4)


def test_gamma_scale_and_offset():
    study = study_of([[[[2.0, 4.0, 6.0]]]])  # 0, 1/2, 1 of the range
    np.testing.assert_allclose(shifts.gamma(study, 2.0).voxels.ravel(), [2, 3, 6])
    sd = np.std([2, 4, 6])
    np.testing.assert_allclose(shifts.scale(study, 10.0).voxels.ravel(), [20, 40, 60])
    np.testing.assert_allclose(shifts.offset(study, 0.5).voxels.ravel(), np.array([2, 4, 6]) + 0.5 * sd, rtol=1e-6)


def test_inversion_and_gains_of_slices():
    study = study_of([[[[2.0, 4.0, 6.0]]]])
    np.testing.assert_allclose(shifts.inversion(study, 1.0).voxels.ravel(), [6, 4, 2])
    assert shifts.inversion(study, 0.0) is study
    gained = shifts.slice_gain(counted(2, 5, 3, 4), 4.0, (1,)).voxels
    gains = gained[:, :, 1, 1] / counted(2, 5, 3, 4).voxels[:, :, 1, 1]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-6)  # one gain in all frames
    assert len(np.unique(gains[0])) == 5
    assert gains.min() >= 0.25
    assert gains.max() <= 4


def test_dark_blood_moves_one_pool_towards_the_muscle():
    labels = np.zeros((1, 1, 21, 42), np.uint8)
    labels[..., :20] = 3
    labels[..., 22:] = 2
    voxels = np.where(labels == 3, 90.0, np.where(labels == 2, 30.0, 50.0))
    study = dataclasses.replace(STACK, voxels=voxels.astype(np.float32), labels=labels)
    assert study.classes[2:] == ("myocardium", "cavity")
    found = shifts.dark_blood(study, 0.5, pool="cavity").voxels[0, 0]
    np.testing.assert_allclose(found[:, :10], 60, rtol=1e-5)  # half way from 90 to 30
    np.testing.assert_allclose(found[:, 30:], 30, rtol=1e-5)
    with pytest.raises(ValueError, match="without labels"):
        shifts.dark_blood(dataclasses.replace(study, labels=None), 0.5, pool="cavity")


def test_spectrum_keeps_phases_and_high_frequencies():
    found = np.fft.fft2(shifts.spectrum(STACK, 0.05, (2,)).voxels.astype(float))
    before = np.fft.fft2(STACK.voxels.astype(float))
    rows, columns = np.abs(np.fft.fftfreq(64))[:, None], np.abs(np.fft.fftfreq(64))[None, :]
    low = np.broadcast_to((rows < 0.05) & (columns < 0.05), found.shape)
    np.testing.assert_allclose(found[~low], before[~low], atol=2e-4 * np.abs(before).max())
    turns = np.angle(found[low] / before[low])
    assert np.abs(turns).max() < 1e-3
    assert np.abs(found[low] / before[low]).std() > 0.1


def test_degraded_copies_go_through_all_kinds():
    copies = [copy for number in range(6) for copy in shifts.degraded(STACK, number, 2)]
    assert len(shifts.DEGRADATIONS) == 11
    for copy, (change, strength) in zip(copies, shifts.DEGRADATIONS, strict=False):
        if change is shifts.heart_size:
            assert copy.spacing_mm[0] == pytest.approx(strength * STACK.spacing_mm[0])
        else:
            assert not np.array_equal(copy.voxels, STACK.voxels)
        assert copy.labels.shape == copy.voxels.shape


def test_noise_has_the_sigma_asked_for():
    flat = np.full((1, 4, 128, 128), 1000.0)
    flat[:, :2] += 200  # σ = 100, far from zero, where Rician noise is Gaussian
    flat[0, 0, 0, 0] = 0
    study = study_of(flat)
    for noise in (shifts.gaussian_noise, shifts.rician_noise):
        added = noise(study, 0.5, (1,)).voxels - study.voxels
        assert added.std() == pytest.approx(0.5 * study.voxels.std(), rel=0.02)
        assert not np.array_equal(added, noise(study, 0.5, (2,)).voxels - study.voxels)
    once, twice = (shifts.gaussian_noise(study, strength, (1,)).voxels - study.voxels for strength in (0.5, 1.0))
    np.testing.assert_allclose(2 * once, twice, atol=1e-2)  # the same draws at every strength
    dark = study_of(np.r_[np.zeros(2**16), [1.0]].reshape(1, 1, 1, -1))
    sigma = 0.5 * dark.voxels.std()
    assert shifts.rician_noise(dark, 0.5).voxels.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)


def test_a_bias_field_is_smooth_and_within_its_strength():
    study = study_of(np.r_[0.0, np.ones(64 * 64 - 1)].reshape(1, 1, 64, 64))
    field = np.log(shifts.bias_field(study, 0.5, (3,)).voxels[0, 0].ravel()[1:])
    assert np.abs(field).max() == pytest.approx(0.5, rel=0.05)
    assert np.abs(np.diff(field.reshape(-1)[:63])).max() < 0.1


def test_a_blur_is_measured_in_mm():
    point = np.zeros((1, 1, 41, 41))
    point[0, 0, 20, 20] = 1
    blurred = shifts.blur(study_of(point), 4.0).voxels[0, 0]  # pixels of 1 × 2 mm
    offsets = np.arange(41) - 20
    assert np.sqrt((blurred.sum(1) * offsets**2).sum()) == pytest.approx(4, rel=0.02)
    assert np.sqrt((blurred.sum(0) * offsets**2).sum()) == pytest.approx(2, rel=0.02)


def test_a_ghost_lies_a_quarter_away():
    point = np.zeros((1, 1, 8, 8))
    point[0, 0, 4, 4] = 1
    seen = shifts.ghost(study_of(point), 0.5, (0,)).voxels[0, 0]
    where = {tuple(map(int, place)): float(seen[tuple(place)]) for place in np.argwhere(seen)}
    rows = {(4, 4): 1.0, (2, 4): 0.25, (6, 4): 0.25}
    assert where in (rows, {(b, a): value for (a, b), value in rows.items()})


def test_a_coarser_grid_and_back():
    voxels = np.kron(np.arange(16.0).reshape(4, 4), np.ones((2, 2)))[None, None]
    labels = (voxels > 7).astype(np.uint8)
    coarse = shifts.resolution(study_of(voxels, labels), 2.0)
    assert coarse.voxels.shape == (1, 1, 4, 4)
    assert coarse.spacing_mm == (8.0, 2.0, 4.0)
    np.testing.assert_array_equal(coarse.labels[0, 0], np.arange(16).reshape(4, 4) > 7)
    np.testing.assert_array_equal(shifts.restored(coarse.labels, study_of(voxels, labels)), labels)
    again = shifts.restored(shifts.resolution(STACK, 2.0).labels, STACK)
    assert (again != STACK.labels).mean() < 0.05


def test_quarter_turns_are_exact_and_others_near_them():
    study = counted(1, 2, 3, 5)
    turned = shifts.rotation(study, 90)
    np.testing.assert_array_equal(turned.voxels, np.rot90(study.voxels, axes=(2, 3)))
    np.testing.assert_array_equal(turned.labels, np.rot90(study.labels, axes=(2, 3)))
    assert turned.spacing_mm == (8.0, 2.0, 1.0)
    np.testing.assert_array_equal(shifts.rotation(study, 180).voxels, study.voxels[:, :, ::-1, ::-1])
    square = study_of(np.arange(49.0).reshape(1, 1, 7, 7), spacing_mm=(8.0, 1.0, 1.0))
    near, exact = shifts.rotation(square, 89.999), shifts.rotation(square, 90)
    np.testing.assert_allclose(near.voxels[0, 0, 1:-1, 1:-1], exact.voxels[0, 0, 1:-1, 1:-1], atol=0.01)


def test_a_turn_is_one_of_mm():
    point = np.zeros((1, 1, 21, 21))
    point[0, 0, 10, 13] = 1  # 6 mm to the right, in pixels of 1 × 2 mm
    turned = shifts.rotation(study_of(point), 30).voxels[0, 0]
    centre = np.array([(turned * grid).sum() / turned.sum() - 10 for grid in np.indices((21, 21))])
    np.testing.assert_allclose(centre * (1, 2), [-6 * np.sin(np.pi / 6), 6 * np.cos(np.pi / 6)], atol=0.2)


def test_axes_and_slices():
    study = counted(1, 3, 2, 4)
    np.testing.assert_array_equal(shifts.flip(study, 1).voxels, study.voxels[..., ::-1])
    np.testing.assert_array_equal(shifts.flip(study, 2).labels, study.labels[:, :, ::-1])
    np.testing.assert_array_equal(shifts.flip(study, 3).voxels, study.voxels[:, :, ::-1, ::-1])
    swapped = shifts.transposition(study, 1)
    np.testing.assert_array_equal(swapped.voxels, study.voxels.swapaxes(2, 3))
    assert swapped.spacing_mm == (8.0, 2.0, 1.0)
    np.testing.assert_array_equal(shifts.slice_order(study, 1).labels, study.labels[:, ::-1])
    np.testing.assert_array_equal(shifts.single_slice(study, 1).voxels, study.voxels[:, 1:2])
    gap = shifts.slice_gap(study, 2)
    np.testing.assert_array_equal(gap.voxels, study.voxels[:, [0, 2]])
    assert gap.spacing_mm == (16.0, 1.0, 2.0)
    assert shifts.heart_size(study, 1.2).spacing_mm == pytest.approx((9.6, 1.2, 2.4))


def test_fields_of_view():
    study = study_of(np.arange(1.0, 17).reshape(1, 1, 4, 4))
    np.testing.assert_array_equal(shifts.field_of_view(study, 0.5).voxels[0, 0], [[6, 7], [10, 11]])
    wide = shifts.field_of_view(study, 1.5)
    assert wide.voxels.shape == (1, 1, 6, 6)
    np.testing.assert_array_equal(wide.voxels[..., 1:5, 1:5], study.voxels)
    assert wide.voxels.sum() == study.voxels.sum()
    np.testing.assert_array_equal(wide.labels[..., 1:5, 1:5], study.labels)


def test_slices_of_other_breath_holds_move_with_their_labels():
    study = counted(2, 6, 16, 16)
    moved = shifts.breath_holds(study, 3.0, (4,))
    moves = set()
    for z in range(6):
        row, column = np.argwhere(moved.voxels[0, z] == study.voxels[0, z, 8, 8])[0] - 8
        moves.add((int(row), int(column)))
        assert moved.voxels[1, z, 8 + row, 8 + column] == study.voxels[1, z, 8, 8]
        assert moved.labels[0, z, 8 + row, 8 + column] == study.labels[0, z, 8, 8]
    assert len(moves) > 1


def untrained(classes):
    """Two networks that have learnt nothing."""
    networks = []
    for number, count in enumerate((2, len(classes))):
        spec = NetworkSpec("net1", count, width=1 / 32)
        variables = init_network(jax.random.key(number), spec)
        networks.append(Network(spec, PrepareSpec(spacing_mm=4.0, bucket=64, foa=number == 1), variables))
    return Model(classes, *((network,) for network in networks), margin_px=10, cyclic=False)


def test_the_scale_changes_no_prediction():
    model = untrained(STACK.classes)
    plain = predict_study(STACK, model).mask
    assert (predict_study(shifts.scale(STACK, 8.0), model).mask != plain).mean() < 1e-3


def test_what_was_predicted_before_is_moved_like_the_truth(monkeypatch):
    # A network that sees the truth of the unshifted study, and predicts it for whatever it is shown.
    known = {STACK.voxels.tobytes(): STACK.labels}

    def predict(study, model, memory_bytes):
        mask = known.get(study.voxels.tobytes(), np.zeros(study.voxels.shape, np.uint8))
        return Prediction(mask, [], None, None, ())

    monkeypatch.setattr(shifted, "predict_study", predict)
    chosen = [shift for shift in SHIFTS if shift.name in ("fov", "rotation", "resolution")]
    outcomes = shifted.measure([STACK], untrained(STACK.classes), chosen)
    assert len(outcomes) == sum(len(shift.strengths) for shift in chosen) * len(STACK.classes)
    for outcome in outcomes:
        assert (outcome.dc_before, outcome.misses_before) == (1.0, 0)
        assert outcome.dc == 0 if outcome.misses else outcome.dc == 1  # 1 where the truth was cropped away


def test_the_command_leaves_tables_and_a_picture(tmp_path):
    small = {"data.patients": 4, "data.folds": 2, "data.phantom.frames": 1, "data.validation_fraction": 0.0}
    short = {"segmentation.train.epochs": 1, "localization.enabled": False}
    config = tiny(phantom.get_config(), **small, **short)
    run, output = tmp_path / "run", tmp_path / "out"
    training.train(config, run, resume=False, tensorboard=False, command=[])
    outcomes = robustness.run(config, run, output, count=1, shifts=["flip", "resolution"])
    record = json.loads((output / "robustness.json").read_text())
    assert len(record["cases"]) == 1
    assert len(record["outcomes"]) == len(outcomes) == (3 + 3) * 3
    assert len((output / "robustness.csv").read_text().splitlines()) == 1 + 18
    table = (output / "robustness.md").read_text()
    assert table.count("mirrored") == 3
    assert " up–down |" in table
    assert (output / "robustness.png").stat().st_size > 0
    with pytest.raises(InputError, match="no zoom; there are gamma, scale, offset"):
        robustness.run(config, run, output, shifts=["zoom"])
