"""The jobs of `run.py` that have a configuration: check, train and evaluate; release; and what they share."""

from foanet_jax.experiment.checking import check
from foanet_jax.experiment.evaluating import draw_prediction, evaluate
from foanet_jax.experiment.model import (
    Runs,
    describe_run,
    describe_source,
    find_runs,
    load_description,
    load_model,
)
from foanet_jax.experiment.options import memory_bytes, require_settings, test_time_augmentation
from foanet_jax.experiment.record import save_run, write_json, write_text
from foanet_jax.experiment.release import release
from foanet_jax.experiment.studies import Config, list_studies, load_studies, open_folds, slice_axis_of
from foanet_jax.experiment.training import train
from foanet_jax.settings import STAGES
from foanet_jax.training.weights import DTYPES, default_weights

__all__ = [
    "DTYPES",
    "STAGES",
    "Config",
    "Runs",
    "check",
    "default_weights",
    "describe_run",
    "describe_source",
    "draw_prediction",
    "evaluate",
    "find_runs",
    "list_studies",
    "load_description",
    "load_model",
    "load_studies",
    "memory_bytes",
    "open_folds",
    "release",
    "require_settings",
    "save_run",
    "slice_axis_of",
    "test_time_augmentation",
    "train",
    "write_json",
    "write_text",
]
