"""The weights that come with the package: the file and its card, on phantoms, and on patients of ACDC."""

import dataclasses
import hashlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import foanet_jax
from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.readers.acdc import list_acdc
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.jobs.experiment.model import load_description
from foanet_jax.jobs.experiment.reviewing import expectations
from foanet_jax.measures.metrics import dice
from foanet_jax.measures.quality.review import review_study
from foanet_jax.pipeline import NOT_LOCALIZED, UNEVEN, predict_study
from foanet_jax.training.weights import default_weights

# One of each clinical group: DCM, HCM, MINF, NOR, RV.
PATIENTS = ("patient001", "patient023", "patient044", "patient062", "patient084")


@pytest.fixture(scope="module")
def model():
    return foanet_jax.load()


def scores(model, study, *, flags=()):
    """Dice of each structure that the study has."""
    found = model.predict(study.voxels, spacing_mm=study.spacing_mm)
    assert found.flags == flags
    mask = np.asarray(found.mask)
    return {
        name: dice(mask == model.classes.index(name), study.labels == index)
        for index, name in enumerate(study.classes)
        if index
    }


def test_they_are_small_and_the_card_is_of_this_file(model):
    path = default_weights()
    assert path.stat().st_size <= 20e6
    assert model.classes == ACDC_CLASSES
    card = (path.parent / "README.md").read_text(encoding="utf-8")
    assert re.search(r"SHA-256 `([0-9a-f]{64})`", card)[1] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("number", [0, 1])
def test_a_phantoms_cine_which_they_never_saw_the_like_of(model, number):
    found = scores(model, short_axis_study(number, size=192, frames=4))
    assert min(found.values()) > 0.85


def test_double_precision_in_the_users_program_changes_nothing(model):
    study = short_axis_study(1, size=128, frames=1)
    usual = model.predict(study.voxels, spacing_mm=study.spacing_mm)
    with jax.enable_x64(True):
        found = foanet_jax.load().predict(study.voxels, spacing_mm=study.spacing_mm)
        assert jnp.zeros(1, float).dtype == jnp.float64  # still as the user wants it
    np.testing.assert_array_equal(found.mask, usual.mask)
    assert found.prediction.confidence == usual.prediction.confidence


def test_an_image_with_little_around_the_heart_is_told_and_drawn(model):
    found = scores(model, short_axis_study(1, size=128, frames=4), flags=(NOT_LOCALIZED,))
    assert min(found.values()) > 0.85


def test_a_phantoms_stack_has_all_structures_in_place(model):
    found = scores(model, short_axis_stack(2, size=192))
    assert min(found.values()) > 0.85


def test_intensities_may_have_any_scale_and_offset(model):
    study = short_axis_study(0, size=192, frames=4)
    predict = partial(model.predict, spacing_mm=study.spacing_mm)
    plain, changed = predict(study.voxels).mask, predict(0.03 * study.voxels - 400).mask
    assert np.mean(plain != changed) < 1e-4
    assert np.count_nonzero(plain) > 1000


def test_each_slice_may_have_a_brightness_of_its_own(model):
    study = short_axis_stack(2, size=192)
    gains = np.resize(np.array([1, 4, 0.3, 8, 2], np.float32), study.voxels.shape[1])
    uneven = dataclasses.replace(study, voxels=study.voxels * gains[:, None, None])
    assert min(scores(model, uneven, flags=(UNEVEN,)).values()) > 0.85


def test_exchanged_contrast_is_rejected(model):
    study = short_axis_stack(2, size=192)
    inverted = dataclasses.replace(study, voxels=study.voxels.max() + study.voxels.min() - study.voxels)
    prediction = predict_study(inverted, model.model)
    expected = expectations([default_weights()], load_description(default_weights()))
    review = review_study(inverted, prediction, expected)
    assert review.verdict == "reject"
    assert "dark-blood" in {finding.code for finding in review.findings}


def test_patients_of_acdc(model, shared_data):
    """They were trained with: this shows that file and pipeline are right, docs/accuracy.md how good they are."""
    studies = [ref.load() for ref in list_acdc(shared_data("acdc")) if ref.patient in PATIENTS]
    each = [scores(model, study) for study in studies]
    assert len(each) == 10
    mean = {name: np.mean([found[name] for found in each]) for name in ACDC_CLASSES[1:]}
    assert mean["right ventricle"] > 0.90
    assert mean["myocardium"] > 0.90
    assert mean["cavity"] > 0.94
    assert min(min(found.values()) for found in each) > 0.75
