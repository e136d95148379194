"""The job `check`: checks a data set."""

import logging
from collections.abc import Sequence
from pathlib import Path

from foanet_jax.jobs.check import check_data_set, draw_check, format_check, write_check
from foanet_jax.jobs.experiment.studies import Config, list_studies

LOGGER = logging.getLogger(__name__)


def check(config: Config, workdir: Path, *, spacing_mm: Sequence[float] | None = None) -> int:
    """Reads the whole data set and reports all errors and warnings.

    It writes check.json, check.md and check.png to `workdir/check`. It writes nothing if no study could be listed.

    Args:
        config: the configuration.
        workdir: the folder to write to.
        spacing_mm: distances of slices, rows and columns in mm, which replace those in the headers of all files.

    Returns:
        The number of errors.
    """
    data = config["data"]
    # The training itself checks a file of folds against the patients. With groups, there are as many folds as groups.
    folds = 0 if data["folds_file"] or data["split"] == "group" else data["folds"]
    report = check_data_set(
        lambda problems: list_studies(config, problems, spacing_mm=spacing_mm), name=data["name"], folds=folds
    )
    LOGGER.info("\n%s\n", format_check(report))
    if report.patients:
        folder = workdir / "check"
        write_check(report, folder)
        draw_check(report, folder / "check.png")
        LOGGER.info("the report and a picture of the data set are in %s", folder)
    return report.count("error")
