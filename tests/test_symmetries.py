"""Test-time augmentation and ensembles: turned studies have turned maps, and runs must go together."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax import pipeline
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.boxes import whole_image
from foanet_jax.image.prepare import PrepareSpec, open_source, prepare
from foanet_jax.image.stack import neighbours
from foanet_jax.jobs.experiment.model import _require_alike, find_runs, require_unseen
from foanet_jax.network import NetworkSpec, init_network
from foanet_jax.pipeline import Model, Network, predict_study, probability_maps
from foanet_jax.system.errors import InputError

SPEC = NetworkSpec("net1", 3, width=1 / 32, side_maps=2)
PREPARE = PrepareSpec(bucket=16)


def network(seed=0):
    variables = jax.jit(init_network, static_argnames="spec")(jax.random.key(seed), SPEC)
    return Network(SPEC, PREPARE, jax.tree.map(lambda leaf: 3 * leaf, variables))


def maps_of(voxels, tta):
    """(N, H, W, C) inside the extent."""
    shape = voxels.shape[-2:]
    prepared = prepare(open_source(voxels), whole_image(shape), (1.0, 1.0), PREPARE)
    triples = neighbours(*voxels.shape[:2], cyclic=False)
    ((maps, count),) = probability_maps(network(), prepared, triples, together=len(triples), tta=tta)
    return np.asarray(maps)[:count, : shape[0], : shape[1]]


@pytest.mark.parametrize(
    ("tta", "turn"),
    [
        ("flips", lambda a, rows, columns: np.flip(a, rows)),
        ("flips", lambda a, rows, columns: np.flip(a, columns)),
        ("turns", lambda a, rows, columns: np.flip(a, (rows, columns))),
        ("turns", lambda a, rows, columns: np.rot90(a, 1, (rows, columns))),
    ],
    ids=["rows", "columns", "half turn", "quarter turn"],
)
def test_a_turned_study_has_the_turned_maps(tta, turn):
    voxels = np.random.default_rng(0).normal(size=(1, 2, 21, 27)).astype(np.float32)
    turned = np.ascontiguousarray(turn(voxels, 2, 3))
    np.testing.assert_allclose(maps_of(turned, tta), turn(maps_of(voxels, tta), 1, 2), atol=1e-5)
    plain = maps_of(voxels, "none")
    assert np.abs(maps_of(turned, "none") - turn(plain, 1, 2)).max() > 0.01
    assert np.abs(maps_of(voxels, tta).sum(axis=-1) - 1).max() < 1e-5


def ranks(variables, images, spec, extent=None):
    """Certain of the class in `variables` where the image is above average, else of the background."""
    inside = jnp.arange(images.shape[1])[:, None] < extent[0, 0]
    inside &= jnp.arange(images.shape[2]) < extent[0, 1]
    votes = jnp.asarray(variables["votes"])
    return jnp.where(((images[..., 1] > 0) & inside)[..., None], votes, jnp.eye(spec.classes)[0])


def square_study():
    voxels = np.zeros((1, 2, 20, 24), np.float32)
    voxels[:, :, 5:12, 6:15] = 1
    return Study("p", "p", voxels, (8.0, 1.0, 1.0), LV_CLASSES)


@pytest.mark.parametrize("tta", ["none", "flips", "turns"])
def test_an_ensemble_is_the_mean_of_its_networks(monkeypatch, tta):
    monkeypatch.setattr(pipeline, "probabilities", ranks)

    def predict(*votes):
        prepares = (PREPARE, PrepareSpec(bucket=16, neighbours="none"), PREPARE)
        members = [Network(SPEC, p, {"votes": vote}) for p, vote in zip(prepares, votes, strict=False)]
        return predict_study(square_study(), Model(LV_CLASSES, (), tuple(members), 10, False), tta=tta)

    square = (square_study().voxels > 0).astype(np.uint8)
    ring, cavity, unsure = (0.0, 0.9, 0.1), (0.0, 0.2, 0.8), (0.3, 0.2, 0.5)
    np.testing.assert_array_equal(predict(ring).mask, square)
    np.testing.assert_array_equal(predict(ring, cavity).mask, square)  # 1.1 against 0.9
    np.testing.assert_array_equal(predict(ring, cavity, unsure).mask, 2 * square)  # 1.3 against 1.4
    assert predict(ring).confidence.agreement == (None if tta == "none" else 1)
    assert predict(ring, cavity).confidence.agreement == 1  # on where the foreground is
    nothing = (1.0, 0.0, 0.0)
    found = predict(ring, nothing).confidence.agreement  # half of the views see nothing: pairs of one kind agree
    assert found == pytest.approx({"none": 0, "flips": 6 / 22, "turns": 28 / 92}[tta])


def surer_unturned(variables, images, spec, extent=None):
    """`ranks`, and less certain of images whose square is not where `square_study` has it, nearer to the first row."""
    certain = ranks({"votes": (0.0, 0.9, 0.1)}, images, spec, extent)
    seen = certain[..., 1] > 0
    rows = jnp.arange(images.shape[1])[:, None]
    mean_row = jnp.sum(rows * seen, axis=(1, 2)) / jnp.sum(seen, axis=(1, 2))
    turned = (mean_row > extent[0, 0] / 2 - 1)[:, None, None, None]
    return jnp.where(turned, ranks({"votes": (0.2, 0.6, 0.2)}, images, spec, extent), certain)


@pytest.mark.parametrize("tta", ["none", "flips", "turns"])
def test_confidence_is_that_of_the_image_as_it_is(monkeypatch, tta):
    """With which it was calibrated: the mean over turned images, (0.9 + 0.6) / 2 with flips, would be less sure."""
    monkeypatch.setattr(pipeline, "probabilities", surer_unturned)
    found = predict_study(square_study(), Model(LV_CLASSES, (), (Network(SPEC, PREPARE, {}),), 10, False), tta=tta)
    np.testing.assert_array_equal(found.mask, square_study().voxels > 0)
    assert found.confidence.foreground == pytest.approx(0.9)


def test_localization_networks_are_averaged_too(monkeypatch):
    monkeypatch.setattr(pipeline, "probabilities", ranks)
    two = NetworkSpec("net1", 2)
    members = [Network(two, PREPARE, {"votes": vote}) for vote in ((0.7, 0.3), (0.4, 0.6), (0.2, 0.8))]
    segmentation = (Network(SPEC, PREPARE, {"votes": (0.0, 1.0, 0.0)}),)

    def found(*localization):
        return predict_study(square_study(), Model(LV_CLASSES, localization, segmentation, 2, False)).object_box

    assert found(*members[:2]) is None
    assert found(*members) == pipeline.Box(5, 6, 12, 15)


def run_folder(path, *, fold=0):
    (path / "segmentation" / "checkpoints").mkdir(parents=True)
    folds = [{"train": ["a", "b"], "validation": ["c"], "test": ["d"]}]
    folds += [{"train": ["c", "d"], "validation": ["b"], "test": ["a"]}]
    (path / "folds.json").write_text(json.dumps({"folds": folds}))
    (path / "run.json").write_text(json.dumps({"config": {"data": {"fold": fold}}}))
    return path


def test_runs_of_a_folder(tmp_path):
    single = run_folder(tmp_path / "single")
    folds = [run_folder(tmp_path / "cv" / "rows" / "i" / f"fold{n}", fold=n) for n in range(2)]
    assert find_runs(single) == [single]
    assert find_runs([single, tmp_path / "none"]) == [single, tmp_path / "none"]
    assert find_runs(tmp_path / "cv") == find_runs(tmp_path / "cv" / "rows" / "i") == folds
    assert find_runs([tmp_path / "cv", single]) == [*folds, single]
    run_folder(tmp_path / "cv" / "rows" / "j" / "fold0")
    with pytest.raises(InputError, match=r"sweep with 2 rows; choose one of them, such as --checkpoint=.*rows/i"):
        find_runs(tmp_path / "cv")


def test_patients_that_a_run_has_seen_are_no_test(tmp_path):
    runs = [run_folder(tmp_path / f"fold{n}", fold=n) for n in range(2)]
    require_unseen(runs[:1], ["d"])
    require_unseen(runs[1:], ["a"])
    with pytest.raises(InputError, match=r"fold1: was trained with 1 of the test patients \(d …\)") as caught:
        require_unseen(runs, ["d"])
    assert caught.value.code == "seen-patients"
    with pytest.raises(InputError, match="fold0"):
        require_unseen(runs[:1], ["c"])  # The best checkpoint was chosen by it.


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("classes",), ["background", "heart"]),
        (("slice_axis",), "axial"),
        (("config", "localization", "margin_px"), 20),
        (("config", "data", "cyclic"), True),
        (("config", "segmentation", "prepare", "spacing_mm"), 2.0),
        (("config", "localization", "prepare", "bucket"), 64),
    ],
)
def test_runs_that_do_not_go_together_are_refused(tmp_path, where, value):
    def description():
        prepare = {"spacing_mm": 1.0, "bucket": 32}
        localization = {"enabled": True, "margin_px": 10, "prepare": dict(prepare)}
        config = {"localization": localization, "segmentation": {"prepare": dict(prepare)}, "data": {"cyclic": False}}
        return {"classes": list(LV_CLASSES), "slice_axis": None, "config": config}

    other = place = description()
    _require_alike([tmp_path, tmp_path], [other, description()])
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = value
    with pytest.raises(InputError, match=where[-1].replace("_a", ".a")) as caught:
        _require_alike([tmp_path / "one", tmp_path / "two"], [description(), other])
    assert caught.value.code == "ensemble"
