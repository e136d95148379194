"""The folder of a run as its training leaves it, without the training: its networks are random."""

import functools
import json

import jax
import numpy as np

from foanet_jax.data.folds import FOLDS, Folds, save_folds
from foanet_jax.network import init_network
from foanet_jax.settings import network_settings
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import open_checkpoints
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.step import init_state, make_optimiser

CLASSES = ["background", "myocardium", "cavity"]
RANGE = {"rows": [96, 256]}


def some(rng, leaf):
    """Kernels as He has them; biases, scales and statistics that are not what they begin with."""
    if len(leaf.shape) == 1:
        return rng.uniform(0.1, 0.3, leaf.shape).astype(np.float32)
    return (rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))).astype(np.float32)


def save_run(run, config, folds, *, seed=0):
    """Writes checkpoints of both networks, folds.json and run.json.

    Args:
        run: the folder.
        config: whose `data.fold` it is of.
        folds: patients of each one's parts.
        seed: of the networks.
    """
    for number, stage in enumerate(NETWORKS):
        settings = network_settings(config, stage, classes=2 if stage == "localization" else len(CLASSES))
        shapes = jax.eval_shape(lambda spec=settings.network: init_network(jax.random.key(0), spec))
        variables = jax.tree.map(functools.partial(some, np.random.default_rng(10 * seed + number)), shapes)
        state = parallel.place(init_state(variables, make_optimiser(settings.optimiser, 1)), 1)
        description = {
            "stage": stage,
            "classes": CLASSES,
            "slice_axis": None,
            "training_range": RANGE,
            "config": config,
            "training": {"studies": "digests"},
        }
        with open_checkpoints(run / stage, write=True) as checkpoints:
            checkpoints.save(state, description, epoch=1, score=0.5)
    save_folds(Folds(tuple(folds), 0, 0.1), run / FOLDS)
    (run / "run.json").write_text(json.dumps({"config": config}))
    return run
