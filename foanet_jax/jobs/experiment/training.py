"""The job `train`: trains the networks of a run."""

from collections.abc import Sequence
from pathlib import Path

from foanet_jax.data.folds import FOLDS, save_folds
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.options import memory_bytes, require_settings
from foanet_jax.jobs.experiment.record import save_run
from foanet_jax.jobs.experiment.studies import Config, list_studies, load_studies, open_folds, slice_axis_of
from foanet_jax.measures.quality.picture import training_range
from foanet_jax.pages.drawing import draw_learning_curves
from foanet_jax.settings import box_settings, network_settings, networks_of
from foanet_jax.system import distributed
from foanet_jax.training.examples import TrainingStudy, localization_study, segmentation_study
from foanet_jax.training.loop import train_network
from foanet_jax.training.runlog import read_log
from foanet_jax.training.spec import NETWORKS

CURVES = "curves.png"


def train(
    config: Config,
    workdir: Path,
    *,
    resume: bool,
    tensorboard: bool,
    command: Sequence[str],
    networks: Sequence[str] | None = None,
    refs: Sequence[StudyRef] | None = None,
) -> None:
    """Trains the localization network, if the configuration has one, and then the segmentation network.

    It writes `run.json`, `folds.json` and a folder for each network, with its learning curves, to `workdir`.

    Args:
        config: the configuration.
        workdir: folder of the run.
        resume: continue from the last checkpoints.
        tensorboard: also write TensorBoard events.
        command: the user's command line, for the record.
        networks: train only these networks; None: all.
        refs: the studies of the configured data set, if they have been listed already.

    Raises:
        InputError: the configuration, the data set or the workdir cannot be used.
        Interrupted: the program received a signal to end; the state has been saved.
    """
    require_settings(config)
    budget = memory_bytes(config)
    refs = list_studies(config) if refs is None else refs
    folds = open_folds(config, refs, workdir)
    fold = folds.folds[config["data"]["fold"]]
    training = load_studies(refs, fold.train, "training studies")
    validation = load_studies(refs, fold.validation, "validation studies")
    classes, seen = training[0].classes, training_range(training)

    def record() -> None:
        # The records are written only when the training starts: a refused command must not change the folder.
        save_folds(folds, workdir / FOLDS)
        save_run(config, workdir, command)

    for network in networks or networks_of(config):
        trained = train_network(
            network,
            _training_studies(training, network, config),
            _training_studies(validation, network, config),
            network_settings(config, network, classes=2 if network == "localization" else len(classes)),
            workdir / network,
            description={
                "stage": network,
                "classes": list(classes),
                "slice_axis": slice_axis_of(config),
                "training_range": seen,
                "config": dict(config),
            },
            seed=config["seed"] + NETWORKS.index(network),
            memory_bytes=budget,
            resume=resume,
            tensorboard=tensorboard,
            on_start=record,
        )
        if distributed.is_first():  # Only the first process has the log.
            _draw_curves(workdir / network, redraw=trained)


def _draw_curves(folder: Path, *, redraw: bool) -> None:
    """Draws the learning curves of a network's log if they are missing or `redraw` is true."""
    if redraw or not (folder / CURVES).exists():
        draw_learning_curves(read_log(folder), folder / CURVES)


def _training_studies(studies: Sequence[Study], network: str, config: Config) -> list[TrainingStudy]:
    cyclic = config["data"]["cyclic"]
    if network == "localization":
        return [localization_study(study, cyclic=cyclic) for study in studies]
    margin = box_settings(config).margin_px if config["localization"]["enabled"] else None
    return [segmentation_study(study, cyclic=cyclic, margin_px=margin) for study in studies]
