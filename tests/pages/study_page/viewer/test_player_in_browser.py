"""The player in Chromium, with real keys, clicks, wheels and fingers."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from foanet_jax.pages.drawing.style import CLASS_COLOURS
from foanet_jax.pages.study_page import write_study_page
from tests.pages.browser import CHROMIUM, chromium, console
from tests.pages.devtools import Tab
from tests.pages.study_page.results import cine_result, stack_result, volume_result
from tests.pages.study_page.test_study_page import hostile
from tests.pages.study_page.viewer.test_player import FINDINGS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

RESULT = dataclasses.replace(stack_result(), findings=FINDINGS)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_study_page(RESULT, path)
    return path


@pytest.fixture(scope="module")
def opened(page, tmp_path_factory) -> Iterator[Tab]:
    with Tab(tmp_path_factory.mktemp("browser"), page) as tab:
        yield tab
        assert tab.console == []
        assert set(tab.requests) == {page.as_uri()}


@pytest.fixture
def tab(opened) -> Tab:
    """The page, loaded anew."""
    opened.send("Page.reload")
    opened.wait("document.readyState === 'complete' && document.querySelector('#where').textContent !== ''")
    return opened


def seen(tab: Tab) -> tuple[int, int]:
    """Frame and slice that the text names, counted from 1."""
    text = tab.evaluate("document.querySelector('#where').textContent")
    words = text.split()
    return int(words[words.index("frame") + 1]), int(words[1])


def places(tab: Tab, colour: str) -> list[int]:
    """The columns of the canvas's pixels that have a colour, one for each pixel."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return tab.evaluate(
        f"""(() => {{
          const {{ width, height }} = document.querySelector("#screen"), found = [];
          const copy = new OffscreenCanvas(width, height).getContext("2d", {{ willReadFrequently: true }});
          copy.drawImage(document.querySelector("#screen"), 0, 0);
          const {{ data }} = copy.getImageData(0, 0, width, height);
          const far = at => Math.abs(data[at] - {red}) + Math.abs(data[at + 1] - {green})
            + Math.abs(data[at + 2] - {blue});
          for (let at = 0; at < data.length; at += 4) if (far(at) < 30) found.push(at / 4 % width);
          return found;
        }})()"""
    )


def pixels(tab: Tab, colour: str) -> int:
    """How many pixels of the canvas have a colour."""
    return len(places(tab, colour))


def width_of_heart(tab: Tab) -> int:
    """How wide the contour of the myocardium is on the canvas, in px."""
    columns = places(tab, CLASS_COLOURS["myocardium"])
    return max(columns) - min(columns)


# Frame and slice that are seen first: end diastole, and the middle of the heart.
START = (RESULT.end_frames[0] + 1, 3)


def test_starts_at_end_diastole_in_the_middle_of_the_heart(tab):
    assert seen(tab) == START
    assert "end diastole" in tab.evaluate("document.querySelector('#where').textContent")
    assert tab.evaluate("document.querySelector('#screen').getAttribute('aria-label')").startswith("Slice 3 of 4")


def test_plays_in_real_time_and_stops(tab):
    tab.evaluate("document.querySelector('#speed').value = '0.25'")
    tab.evaluate("window.frames_seen = new Set()")
    tab.evaluate(
        "new MutationObserver(() => frames_seen.add(document.querySelector('#frame').getAttribute('aria-valuetext')))"
        ".observe(document.querySelector('#where'), {childList: true})"
    )
    tab.click("[data-action=play]")
    assert tab.evaluate("document.querySelector('[data-action=play]').textContent") == "Stop"
    assert tab.evaluate("document.querySelector('#where').getAttribute('aria-live')") == "off"
    tab.wait("frames_seen.size === 4")
    tab.click("[data-action=play]")
    assert tab.evaluate("document.querySelector('[data-action=play]').textContent") == "Play"
    stopped = seen(tab)
    tab.evaluate("new Promise(done => setTimeout(done, 500))")
    assert seen(tab) == stopped
    assert tab.evaluate("document.querySelector('#where').getAttribute('aria-live')") == "polite"


def test_steps_by_buttons(tab):
    frame, slice_ = START
    tab.click("[data-action=next-frame]")
    assert seen(tab) == (frame % 4 + 1, slice_)
    tab.click("[data-action=previous-frame]")
    tab.click("[data-action=previous-frame]")
    assert seen(tab) == ((frame - 2) % 4 + 1, slice_)
    tab.click("[data-action=next-slice]")
    tab.click("[data-action=next-slice]")
    assert seen(tab)[1] == 4  # The last one; slices have an end, heartbeats do not.


def test_steps_by_keys(tab):
    frame, slice_ = START
    tab.evaluate("document.querySelector('#screen').focus()")
    tab.key("ArrowRight")
    assert seen(tab) == (frame % 4 + 1, slice_)
    tab.key("ArrowLeft")
    tab.key("ArrowUp")
    assert seen(tab) == (frame, slice_ - 1)
    tab.key("ArrowDown")
    assert seen(tab) == (frame, slice_)
    tab.key(" ")
    assert tab.evaluate("document.querySelector('[data-action=play]').textContent") == "Stop"
    tab.key(" ")
    assert tab.evaluate("document.querySelector('[data-action=play]').textContent") == "Play"
    tab.key("c")
    assert pixels(tab, CLASS_COLOURS["myocardium"]) == 0


def test_every_control_is_reached_by_the_tab_key(tab):
    tab.evaluate("document.querySelector('nav li:last-child a').focus()")
    order = []
    for _ in range(40):
        tab.key("Tab")
        said = tab.evaluate(
            "(({id, tagName, textContent, ariaLabel}) => ariaLabel ?? (id || textContent || tagName))"
            "(document.activeElement)"
        )
        if said.startswith("Slice 1"):
            break
        order.append(said)
    assert order[0].startswith("Slice 3 of 4")  # The image.
    expected = ["Play", "Previous frame", "Frame", "Next frame", "End diastole", "End systole", "speed"]
    expected += ["Previous slice", "Slice", "Next slice", "right ventricle", "myocardium", "cavity", "All contours"]
    expected += ["Heart box", "Box with margin", "Zoom in", "Zoom out", "Heart", "Whole image"]
    expected += ["Previous doubt", "Next doubt"]
    assert order[1 : 1 + len(expected)] == expected
    # One stop for the whole list, which its own keys walk through.
    assert order[1 + len(expected) :] == ["Frame 3 a jump"]


def test_keys_in_the_list_of_doubts(tab):
    tab.evaluate("document.querySelector('#doubts button').focus()")
    tab.key("ArrowDown")
    tab.key("ArrowDown")
    assert tab.evaluate("document.activeElement.textContent") == "Slice 2, frame 4 a hole; two pieces"
    assert seen(tab) == START
    tab.key("Enter")
    assert seen(tab) == (4, 2)
    assert tab.evaluate("[...document.querySelectorAll('#doubts button')].filter(b => b.tabIndex === 0).length") == 1


def test_sliders_take_keys(tab):
    frame, slice_ = START
    tab.evaluate("document.querySelector('#slice').focus()")
    tab.key("ArrowLeft")
    assert seen(tab) == (frame, slice_ - 1)


def test_steps_by_wheel(tab):
    frame, slice_ = START
    tab.wheel("#screen", 50)
    tab.wait("document.querySelector('#where').textContent.startsWith('Slice 4')")
    tab.wheel("#screen", -50)
    tab.wait("document.querySelector('#where').textContent.startsWith('Slice 3')")
    assert seen(tab) == (frame, slice_)
    assert tab.evaluate("document.querySelector('#screen').classList.contains('zoomed')") is False


def test_contours_are_toggled_by_class(tab):
    colours = CLASS_COLOURS["cavity"], CLASS_COLOURS["myocardium"]
    cavity, myocardium = (pixels(tab, colour) for colour in colours)
    assert cavity > 100
    assert myocardium > 100
    tab.click("[data-class='2']")  # The cavity, after right ventricle and myocardium.
    assert tab.evaluate("document.querySelector(\"[data-class='2']\").getAttribute('aria-pressed')") == "false"
    assert pixels(tab, colours[0]) == 0
    assert pixels(tab, colours[1]) >= myocardium
    tab.click("[data-class='2']")
    assert pixels(tab, colours[0]) == cavity
    tab.click("[data-box='0']")
    assert pixels(tab, "#3d7bff") > 100


def test_zoom(tab):
    heart = width_of_heart(tab)
    tab.click("[data-action=zoom-in]")
    assert width_of_heart(tab) == pytest.approx(1.25 * heart, rel=0.03)
    tab.click("[data-action=whole]")
    whole = width_of_heart(tab)
    assert whole < heart
    before = pixels(tab, CLASS_COLOURS["myocardium"])
    tab.drag("#screen", (2000, 0))
    assert before > 0
    assert pixels(tab, CLASS_COLOURS["myocardium"]) == 0  # Moved out of sight.
    tab.click("[data-action=heart]")
    assert width_of_heart(tab) == heart


def test_doubts_are_one_click_away(tab):
    tab.click("#doubts li:nth-child(3) button")
    assert seen(tab) == (4, 2)
    text = tab.evaluate("document.querySelector('#where').textContent")
    assert text.endswith("In doubt: a hole; two pieces")
    assert tab.evaluate("document.querySelectorAll('#doubts [aria-current]').length") == 1
    tab.click("[data-action=next-doubt]")  # All frames of slice 4.
    assert seen(tab) == (4, 4)
    tab.click("[data-action=next-doubt]")  # The first one again: all slices of frame 3.
    assert seen(tab) == (3, 4)
    tab.click("[data-action=previous-doubt]")
    tab.click("[data-action=previous-doubt]")
    assert seen(tab) == (4, 2)


def test_time_line(tab):
    known = json.loads(tab.evaluate("JSON.stringify(document.querySelector('#timeline').dataset)"))
    left, step, top, row = (float(known[name]) for name in ("left", "step", "top", "row"))
    height = tab.evaluate("document.querySelector('#timeline').viewBox.baseVal.height")
    _, slice_ = START
    tab.click("#timeline", (left + 1.5 * step) / 440, 60 / height)  # On the curves: only the frame.
    assert seen(tab) == (2, slice_)
    tab.click("#timeline", (left + 2.5 * step) / 440, (top + 0.5 * row) / height)
    assert seen(tab) == (3, 1)
    assert float(tab.evaluate("document.querySelector('#here').getAttribute('x')")) == pytest.approx(left + 2 * step)
    assert "LV cavity" in tab.evaluate("document.querySelector('#where').textContent")


def test_moments(tab):
    es = RESULT.end_frames[1]
    tab.click("[aria-label='End systole']")
    assert seen(tab)[0] == es + 1
    tab.click(f".tiles a[data-frame='{RESULT.end_frames[0]}']")
    assert seen(tab)[0] == RESULT.end_frames[0] + 1


def test_on_a_phone(page, tmp_path):
    with Tab(tmp_path, page, width=390, height=844, touch=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        frame, slice_ = START
        tab.swipe("#screen", -60)
        assert seen(tab) == (frame % 4 + 1, slice_)
        tab.swipe("#screen", 60)
        assert seen(tab) == (frame, slice_)
        # Fingers need room: WCAG 2.2 demands 24 px.
        sizes = tab.evaluate(
            "[...document.querySelectorAll('#player button')].map(b => b.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 36
        assert tab.console == []


@pytest.mark.parametrize("make", [cine_result, volume_result, lambda: hostile(stack_result())])
def test_other_studies(make, tmp_path):
    write_study_page(make(), tmp_path / "page.html")
    with Tab(tmp_path, tmp_path / "page.html") as tab:
        tab.evaluate("document.querySelector('#screen').focus()")
        for key in ("ArrowRight", "ArrowDown", " ", "n", "p", "c", "+", "0"):
            tab.key(key)
        assert tab.evaluate("document.querySelector('#where').textContent")
        assert tab.console == []
        assert len(tab.requests) == 1


def test_other_scripts_are_refused(page, tmp_path):
    """Even one that escaping had let through."""
    copy = tmp_path / "copy.html"
    text = page.read_text(encoding="utf-8").replace("</body>", "<script>document.title = 1</script></body>")
    copy.write_text(text, encoding="utf-8")
    browser = chromium(tmp_path, copy, "--dump-dom")
    assert "<title>1</title>" not in browser.stdout
    assert "Content Security Policy" in "".join(console(browser))


def test_without_scripts_and_on_paper(page, tmp_path):
    with Tab(tmp_path, page) as tab:
        parts = "['#player', '.doubts', '.moments', '#timeline']"
        shown = f"{parts}.map(name => document.querySelector(name).getClientRects().length > 0)"
        assert tab.evaluate(shown) == [True] * 4
        tab.send("Emulation.setEmulatedMedia", media="print")
        assert tab.evaluate(shown) == [False, False, True, True]
        tab.send("Emulation.setEmulatedMedia", media="screen")
        tab.send("Emulation.setScriptExecutionDisabled", value=True)
        tab.send("Page.reload")
        tab.wait("document.readyState === 'complete' && document.querySelector('.moments') !== null")
        assert tab.evaluate(shown)[0] is False
        assert tab.evaluate(shown)[2:] == [True, True]
