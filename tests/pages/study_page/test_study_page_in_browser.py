"""The page of a study in Chromium: quiet console, a picture on the screen, no sideways scrolling on a phone, paper."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foanet_jax.pages.study_page import IndexEntry, write_index_page, write_study_page
from tests.pages.browser import CHROMIUM, chromium, console
from tests.pages.study_page.results import stack_result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

# Runs beside the pages, which allow no scripts of their own.
PROBE = """
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach(details => details.open = true);
  document.querySelector("output").textContent = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth,
    broken: [...page.images].filter(image => !image.naturalWidth).length,
    images: page.images.length,
    text: Math.min(...[...page.querySelectorAll("p, li, td, th, dd, figcaption")]
      .map(element => parseFloat(getComputedStyle(element).fontSize))),
  });
};
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    write_study_page(stack_result(), folder / "study.html")
    thumbnail = np.full((96, 96, 3), 90, np.uint8)
    entries = [IndexEntry("x" * 60, "study.html", "check", "y" * 300, 50.0, thumbnail), IndexEntry("failed")]
    write_index_page(entries, folder / "index.html")
    return {name: folder / f"{name}.html" for name in ("study", "index")}


@pytest.mark.parametrize("name", ["study", "index"])
def test_screenshot(pages, tmp_path, name):
    picture = tmp_path / "page.png"
    browser = chromium(tmp_path, pages[name], f"--screenshot={picture}", "--window-size=1280,1600")
    assert console(browser) == []
    with Image.open(picture) as image:
        grey = np.asarray(image.convert("L")).astype(float)
    assert grey.shape[1] == 1280
    assert grey.std() > 5
    assert len(np.unique(grey)) > 50


@pytest.mark.parametrize("name", ["study", "index"])
@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_screen(pages, tmp_path, name, width):
    # A window cannot be as narrow as a phone, a frame can.
    content = html.escape(pages[name].read_text(encoding="utf-8"))
    wrapper = tmp_path / "wrapper.html"
    frame = f'<iframe width="{width}" height="800" srcdoc="{content}"></iframe>'
    wrapper.write_text(f"<!DOCTYPE html>{frame}<output></output><script>{PROBE}</script>", encoding="utf-8")
    dom = chromium(tmp_path, wrapper, "--dump-dom", "--window-size=1400,900").stdout
    found = json.loads(re.search("<output>(.+?)</output>", dom)[1])
    assert found["overflow"] == 0
    assert found["broken"] == 0
    assert found["images"] >= (4 if name == "study" else 1)
    assert found["text"] >= 12.9


def test_prints(pages, tmp_path):
    pdf = tmp_path / "study.pdf"
    browser = chromium(tmp_path, pages["study"], "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    assert console(browser) == []
    assert 2 <= len(re.findall(rb"/Type /Page\b", pdf.read_bytes())) <= 8
