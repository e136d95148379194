"""Reports: tables, figures and a page of a sweep or a single run, from what lies in its folder alone."""

import logging
from pathlib import Path

from foanet_jax.report.figures import draw_figures
from foanet_jax.report.page import write_page
from foanet_jax.report.tables import make_tables, write_tables
from foanet_jax.sweep.results import read_sweep

LOGGER = logging.getLogger(__name__)


def make_report(folder: Path) -> Path:
    """Writes `folder/report`: report.html, tables/ and figures/. No data set and no accelerator are needed.

    Args:
        folder: of a sweep or of a single run; its rows may be incomplete.

    Returns:
        The page, which opens in any browser.

    Raises:
        InputError: the folder holds neither, or a file in it cannot be read.
    """
    result = read_sweep(folder)
    report = folder / "report"
    tables = make_tables(result)
    write_tables(tables, report / "tables")
    page = report / "report.html"
    write_page(result, tables, draw_figures(result, report / "figures"), page)
    LOGGER.info("the report is %s", page)
    return page
