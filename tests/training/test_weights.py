"""Weights files: what comes back is what was written, or an error; and the weights that come with the package."""

import dataclasses
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

import foanet_jax
from experiments import phantom
from foanet_jax.data.folds import Fold
from foanet_jax.data.phantom.short_axis import short_axis_study
from foanet_jax.jobs.experiment.model import find_runs, load_description, load_model, require_unseen, seen_patients
from foanet_jax.jobs.experiment.release import release
from foanet_jax.jobs.experiment.reviewing import expectations
from foanet_jax.jobs.export import export_model
from foanet_jax.measures.quality.calibration import Calibration, Point, fit_calibration
from foanet_jax.network import probabilities
from foanet_jax.pipeline import predict_study
from foanet_jax.settings import network_settings, with_overrides
from foanet_jax.system.errors import InputError
from foanet_jax.training import weights
from foanet_jax.training.checkpoint import Checkpoint
from foanet_jax.training.loop import initial_variables
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.weights import Member, Weights, read_weights, write_weights
from tests.saved_runs import CLASSES, RANGE, save_run

POINTS = [Point(x, 2 * x - 0.9, {"cavity": (x, x - 0.1)}) for x in (0.5, 0.6, 0.7, 0.8, 0.9)]
CALIBRATION = fit_calibration(POINTS, checkpoint="best")
SECRET = "/home/eva/hospital"


def config(fold=0):
    small = {
        "network.width": 1 / 32,
        "prepare.spacing_mm": 5.0,
        "prepare.bucket": 64,
        "train.pretrained": f"{SECRET}/vgg16.h5",
    }
    changes = {f"{stage}.{name}": value for stage in NETWORKS for name, value in small.items()}
    changes |= {"data.root": SECRET, "data.folds_file": f"{SECRET}/folds.json", "data.fold": fold}
    return with_overrides(phantom.get_config().to_dict(), changes)


FOLDS = [Fold(("p1", "p2"), ("p3",), ("p4",)), Fold(("p3", "p4"), ("p2",), ("p1",))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = [save_run(folder / f"fold{fold}", config(fold), FOLDS, seed=fold) for fold in (0, 1)]
    for run in made:
        (run / "calibration.json").write_text(json.dumps(dataclasses.asdict(CALIBRATION)))
    return made


@pytest.fixture(scope="module")
def released(runs, tmp_path_factory):
    """The first run in one file."""
    path = tmp_path_factory.mktemp("weights") / "heart.safetensors"
    release(runs[0], path, licence="CC BY 4.0", citation="Eva et al.")
    return path


def test_masks_are_those_of_the_run(runs, released):
    model, again = load_model(runs[0]), load_model(released)
    assert jax.tree.structure(model) == jax.tree.structure(again)
    for ours, theirs in zip(
        model.localization + model.segmentation, again.localization + again.segmentation, strict=True
    ):
        assert (ours.spec, ours.prepare) == (theirs.spec, theirs.prepare)
        jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)
    study = short_axis_study(1, size=96, frames=2)
    one, other = predict_study(study, model), predict_study(study, again)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert (one.box, one.flags, one.confidence) == (other.box, other.flags, other.confidence)
    assert len(np.unique(one.mask)) > 1


def test_half_precision_changes_little(runs, released, tmp_path):
    path = tmp_path / "half.safetensors"
    release(runs[0], path, dtype="float16")
    assert path.stat().st_size < 0.6 * released.stat().st_size
    (exact,), (half,) = load_model(released).segmentation, load_model(path).segmentation
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(half.variables))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), jnp.float32)
    one, other = (np.asarray(probabilities(network.variables, images, network.spec)) for network in (exact, half))
    assert 0 < np.abs(one - other).max() < 1e-2
    assert np.mean(one.argmax(-1) == other.argmax(-1)) > 0.99


def test_what_a_file_tells(runs, released):
    assert find_runs(released) == [released]
    found, run = load_description(released), load_description(runs[0])
    assert (found["classes"], found["slice_axis"], found["training_range"]) == (CLASSES, None, RANGE)
    assert found["config"]["segmentation"]["network"] == run["config"]["segmentation"]["network"]
    read = read_weights(released)
    assert (read.licence, read.citation, read.version) == ("CC BY 4.0", "Eva et al.", foanet_jax.__version__)
    assert read.describe() == (
        f"myocardium, cavity; trained with 3 patients of phantom; foanet-jax {foanet_jax.__version__}; CC BY 4.0"
    )
    expected = expectations([released], found)
    assert (expected.trained, expected.calibration) == (RANGE, CALIBRATION)
    # A file that is given away does not tell where things lay, nor what only a training needs.
    content = released.read_bytes()
    assert SECRET.encode() not in content
    assert b"digests" not in content
    assert found["config"]["segmentation"]["train"]["pretrained"] == "vgg16.h5"


def test_patients_that_were_trained_with_are_no_test(released):
    require_unseen([released], ["p4"])
    for patient in ("p1", "p3"):
        with pytest.raises(InputError, match=rf"heart.*1 of the test patients \({patient} …\)") as caught:
            require_unseen([released], [patient, "p4"])
        assert caught.value.code == "seen-patients"


def test_several_runs_in_one_file(runs, released, tmp_path):
    both, again = tmp_path / "both.safetensors", tmp_path / "again.safetensors"
    release(runs, both, licence="CC BY 4.0")
    release([released, runs[1]], again, licence="CC BY 4.0")
    assert both.read_bytes() == again.read_bytes()
    one, other = load_model(runs), load_model(both)
    assert len(other.localization) == len(other.segmentation) == 2
    for ours, theirs in zip(one.localization + one.segmentation, other.localization + other.segmentation, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)
    assert "ensemble of 2 runs; trained with 4 patients" in read_weights(both).describe()
    assert seen_patients(both) == [(0, {"p1", "p2", "p3"}), (1, {"p2", "p3", "p4"})]
    # Which of the two would be calibrated?
    assert expectations([both], load_description(both)).calibration is None
    with pytest.raises(InputError, match="2 runs, but only a single run can be exported"):
        export_model(both, tmp_path / "EXPORT")


def test_a_training_starts_from_what_fits(released, tmp_path):
    settings = network_settings(config(), "segmentation", classes=4)
    train = dataclasses.replace(settings.train, pretrained=str(released))
    settings = dataclasses.replace(settings, train=train)
    (network,) = load_model(released).segmentation
    started = flatten_dict(initial_variables(settings, "segmentation", seed=0), sep="/")
    trained = flatten_dict(network.variables, sep="/")
    # There is a class more: its layer begins anew.
    assert {name for name in started if np.shape(started[name]) != np.shape(trained[name])} == {
        "params/score/kernel",
        "params/score/bias",
    }
    same = [name for name in started if np.array_equal(started[name], trained[name])]
    assert len(same) == len(started) - 2
    with pytest.raises(InputError, match="no array of its segmentation network fits") as caught:
        weights.start_from({"params": {"score": {"kernel": np.zeros((1, 1))}}}, released, "segmentation")
    assert caught.value.code == "weights-misfit"
    assert not weights.holds_networks(tmp_path / "none.safetensors")


def test_classes_in_another_order_start_anew(released, caplog):
    """The channels of the file's last layer mean other structures, though their number is the same."""
    (network,) = load_model(released).segmentation
    trained = flatten_dict(network.variables, sep="/")
    known = tuple(load_description(released)["classes"])
    settings = network_settings(config(), "segmentation", classes=len(known))
    prepare = dataclasses.replace(settings.prepare, spacing_mm=3.25)
    train = dataclasses.replace(settings.train, pretrained=str(released))
    settings = dataclasses.replace(settings, train=train, prepare=prepare)

    def kept(classes):
        started = flatten_dict(initial_variables(settings, "segmentation", seed=0, classes=classes), sep="/")
        return {name for name in started if not np.array_equal(started[name], trained[name])}

    assert kept(known) == set()
    assert any("prepare.spacing_mm" in text and "not 3.25" in text for text in caplog.messages)
    assert not any("start anew" in text for text in caplog.messages)
    assert kept((known[0], *reversed(known[1:]))) == {"params/score/kernel", "params/score/bias"}
    assert any("start anew" in text for text in caplog.messages)


def test_what_a_release_refuses(runs, released, tmp_path):
    before = released.read_bytes()
    for output, code in ((released, "output-exists"), (tmp_path / "w.npz", "suffix")):
        with pytest.raises(InputError) as caught:
            release(runs[0], output)
        assert caught.value.code == code
    assert released.read_bytes() == before
    assert not list(tmp_path.iterdir())
    release(runs[0], released, licence="CC BY 4.0", citation="Eva et al.", overwrite=True)
    assert released.read_bytes() == before
    with pytest.raises(InputError, match="no last checkpoints"):
        load_model(released, which="last")


def test_numbers_beyond_half_precision_are_refused(tmp_path):
    big = Checkpoint(1, 1, {}, {"variables/kernel": np.full((2, 2), 7e4, np.float32)}, tmp_path)
    with pytest.raises(InputError, match="kernel is not finite in float16"):
        write_weights(
            Weights((Member({"segmentation": big}, 0, (), None),)), tmp_path / "w.safetensors", dtype="float16"
        )
    assert not list(tmp_path.iterdir())


def little(tmp_path):
    """A file of a few numbers, and what it holds."""
    arrays = {
        "variables/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "variables/bias": np.ones(3, np.float32),
    }
    stored = Checkpoint(3, 2, {"classes": CLASSES}, arrays, tmp_path)
    content = Weights((Member({"segmentation": stored}, 1, ("p1",), Calibration("best", 5, (0.1,), (0.2,))),), "MIT")
    path = tmp_path / "little.safetensors"
    write_weights(content, path)
    return path, content


def as_plain(content):
    return [
        {
            stage: (found.step, found.epoch, found.description, {n: a.tolist() for n, a in found.arrays.items()})
            for stage, found in member.stages.items()
        }
        | {"fold": member.fold, "seen": member.seen, "calibration": member.calibration}
        for member in content.members
    ] + [content.licence, content.citation, content.version]


def outcome(path):
    try:
        return as_plain(read_weights(path))
    except InputError as error:
        return error


def test_damage_is_an_error_that_names_the_file(tmp_path):
    path, content = little(tmp_path)
    sound = path.read_bytes()
    assert as_plain(read_weights(path)) == as_plain(content)
    rng = np.random.default_rng(0)
    refused = 0
    places = [*range(0, len(sound), 3), *range(len(sound) - 36, len(sound))]
    damaged = [bytes([*sound[:at], sound[at] ^ (1 << rng.integers(8)), *sound[at + 1 :]]) for at in places]
    damaged += [sound[:length] for length in range(0, len(sound), 7)] + [sound + b"\0", b"", b"not a file"]
    for broken in damaged:
        path.write_bytes(broken)
        found = outcome(path)
        if isinstance(found, InputError):
            assert found.code in ("damaged-weights", "not-weights")
            assert str(path) in str(found)
            refused += 1
        else:
            assert found == as_plain(content)
    # What is left fills the header up to eight bytes.
    assert refused >= len(damaged) - 8


def test_what_is_no_weights_file(tmp_path):
    path = tmp_path / "vgg16.safetensors"
    with pytest.raises(InputError, match="no such file"):
        foanet_jax.load(path)
    path.write_bytes(safetensors.numpy.save({"features.0.weight": np.zeros((2, 2), np.float32)}))
    with pytest.raises(InputError, match="was not written by --mode release") as caught:
        foanet_jax.load(path)
    assert caught.value.code == "not-weights"


def rewritten(path, change):
    """A file whose JSON was changed by one who seals it again."""
    sound = path.read_bytes()
    (size,) = struct.unpack("<Q", sound[:8])
    content = json.loads(json.loads(sound[8 : 8 + size])["__metadata__"]["foanet"])
    del content["sha256"]
    change(content)
    arrays = safetensors.numpy.load(sound)
    text = json.dumps({**content, "sha256": weights._digest(content, arrays)})
    hostile = path.with_name("hostile.safetensors")
    hostile.write_bytes(safetensors.numpy.save(arrays, {"foanet": text}))
    return hostile


def described(field, value):
    def change(content):
        *parents, last = field.split(".")
        place = content["members"][0]["stages"]["segmentation"]["description"]
        for parent in parents:
            place = place[parent]
        place[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=2),
        lambda content: content.update(members=[]),
        lambda content: content.update(members=5),
        lambda content: content["members"].append(content["members"][0]),
        lambda content: content["members"][0].update(seen=7),
        lambda content: content["members"][0].update(calibration={"confidence": []}),
        lambda content: content["members"][0]["stages"].pop("segmentation"),
        lambda content: content["members"][0]["stages"].pop("localization"),
        lambda content: content["members"][0]["stages"].update(evil={}),
        described("classes", "abc"),
        described("config.localization.enabled", False),
        described("config.segmentation", None),
        described("config.segmentation.network.architecture", "evil:Network"),
        described("config.segmentation.network.width", 0.5),
        described("config.data.root", 1),
    ],
)
def test_a_hostile_file_is_refused(released, change):
    path = rewritten(released, change)
    with pytest.raises(InputError):
        load_model(path)


def test_without_weights_in_the_package_it_is_said_how_to_get_some(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "DEFAULT", tmp_path / "short_axis.safetensors")
    with pytest.raises(InputError, match=r"pass --checkpoint=RUN .*run\.py trains a run") as caught:
        foanet_jax.load()
    assert caught.value.code == "missing-weights"


def test_weights_in_the_package_are_used_and_said(released, monkeypatch, caplog):
    monkeypatch.setattr(weights, "DEFAULT", released)
    with caplog.at_level("INFO", "foanet_jax"):
        segmenter = foanet_jax.load()
    assert segmenter.classes == tuple(CLASSES)
    assert f"{released}: myocardium, cavity; trained with 3 patients of phantom" in caplog.text
