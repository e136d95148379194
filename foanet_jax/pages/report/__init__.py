"""Reports: tables, figures and a page for a sweep or a single run, made only from the files in its folder."""

import logging
from pathlib import Path

from foanet_jax.pages.report.clinical import clinical_tables
from foanet_jax.pages.report.figures import draw_figures
from foanet_jax.pages.report.kinds import kind_tables
from foanet_jax.pages.report.page import write_report_page
from foanet_jax.pages.report.results import read_sweep
from foanet_jax.pages.report.tables import make_tables, write_tables

LOGGER = logging.getLogger(__name__)
PAGE = Path("report") / "report.html"


def make_report(folder: Path) -> Path:
    """Writes `folder/report`: tables/, figures/ and, last, report.html. It needs no data set and no accelerator.

    Args:
        folder: the folder of a sweep or of a single run. Some of its runs may be missing.

    Returns:
        The path of the page, which opens in any browser.

    Raises:
        InputError: the folder is not that of a sweep or a run, or a file in it cannot be read.
    """
    result = read_sweep(folder)
    tables = [*make_tables(result), *kind_tables(result), *clinical_tables(result)]
    page = folder / PAGE
    written = set(write_tables(tables, page.parent / "tables"))
    figures = draw_figures(result, page.parent / "figures")
    written |= {path for figure in figures for path in (figure.png, figure.pdf)}
    for place in ("tables", "figures"):
        for path in (page.parent / place).glob("*"):
            if path not in written:  # It is left from an earlier report.
                path.unlink()
    write_report_page(result, tables, figures, page)
    LOGGER.info("the report is %s", page)
    return page
