"""The jobs of `run.py` that have a configuration: check, train and evaluate, and what they share."""

from foanet_jax.experiment.checking import check
from foanet_jax.experiment.evaluating import draw_prediction, evaluate
from foanet_jax.experiment.model import Runs, describe_run, find_runs, load_description, load_model
from foanet_jax.experiment.options import memory_bytes, test_time_augmentation
from foanet_jax.experiment.record import save_run, write_json, write_text
from foanet_jax.experiment.studies import Config, list_studies, load_studies, open_folds, slice_axis_of
from foanet_jax.experiment.training import train
from foanet_jax.settings import STAGES

__all__ = [
    "STAGES",
    "Config",
    "Runs",
    "check",
    "describe_run",
    "draw_prediction",
    "evaluate",
    "find_runs",
    "list_studies",
    "load_description",
    "load_model",
    "load_studies",
    "memory_bytes",
    "open_folds",
    "save_run",
    "slice_axis_of",
    "test_time_augmentation",
    "train",
    "write_json",
    "write_text",
]
