"""The page in Chromium: quiet console, no sideways scrolling on a phone, and paper."""

import html
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from foanet_jax.pages.report.figures import FigureFile
from foanet_jax.pages.report.page import write_report_page
from foanet_jax.pages.report.tables import make_tables
from tests.pages.browser import CHROMIUM, chromium, console
from tests.pages.report.sweep_results import make_result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

LONG = "x" * 300


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    result = make_result(
        rows=("a", "b", "c", "i", "unet"),
        folds=5,
        titles={"c": LONG},
        failures={"unet": {1: f"{LONG}\n{LONG}"}},
        missing={"b": [2]},
    )
    Image.new("RGB", (1200, 500), "teal").save(folder / "wide.png")
    figure = FigureFile("wide", "A wide figure", LONG, folder / "wide.png", folder / "wide.pdf")
    write_report_page(result, make_tables(result), [figure], folder / "report.html")
    return folder / "report.html"


def test_console_is_quiet(page, tmp_path):
    browser = chromium(tmp_path, page, "--dump-dom")
    assert "Ablation study, LVQuan19" in browser.stdout
    assert console(browser) == []


def test_scripts_are_refused(page, tmp_path):
    """Even one that escaping had let through."""
    copy = tmp_path / "copy.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", "<script>document.title = 1</script></body>"))
    browser = chromium(tmp_path, copy, "--dump-dom")
    assert "<title>1</title>" not in browser.stdout
    assert "Content Security Policy" in "".join(console(browser))


# Runs beside the page, which allows no scripts of its own.
PROBE = """
const frame = document.querySelector("iframe"), found = {};
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach(details => details.open = true);
  found.overflow = root.scrollWidth - root.clientWidth;
  found.images = [...page.images].map(image => image.naturalWidth);
  found.scrolled = [...page.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth).length;
  found.text = Math.min(...[...page.querySelectorAll("p, td, th, dd, pre")]
    .map(element => parseFloat(getComputedStyle(element).fontSize)));
  const figure = page.querySelector("figure");
  frame.contentWindow.location.hash = page.querySelector("a.enlarge").hash;
  found.enlarged = figure.getBoundingClientRect().top === 0 && figure.querySelector("img").clientWidth;
  frame.contentWindow.location.hash = figure.querySelector("a.close").hash;
  found.reduced = figure.querySelector("img").clientWidth;
  document.querySelector("output").textContent = JSON.stringify(found);
};
"""


@pytest.mark.parametrize("width", [360, 390, 800, 1280])
def test_fits_the_screen(page, tmp_path, width):
    # A window cannot be as narrow as a phone, a frame can.
    frame = f'<iframe width="{width}" height="800" srcdoc="{html.escape(page.read_text(encoding="utf-8"))}"></iframe>'
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!DOCTYPE html>{frame}<output></output><script>{PROBE}</script>", encoding="utf-8")
    dom = chromium(tmp_path, wrapper, "--dump-dom", "--window-size=1400,900").stdout
    found = json.loads(re.search("<output>(.+?)</output>", dom)[1])
    assert found["overflow"] == 0
    assert found["images"] == [1200]
    assert found["text"] >= 13
    assert found["enlarged"] >= 1200
    assert found["reduced"] < min(width, 1217)
    assert found["scrolled"] if width < 500 else True


def test_prints(page, tmp_path):
    pdf = tmp_path / "report.pdf"
    browser = chromium(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    assert console(browser) == []
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) >= 3
