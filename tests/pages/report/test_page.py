"""The page: well-formed, whole in one file, and deaf to what patients are called."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from foanet_jax.measures.evaluation import summarise, write_scores
from foanet_jax.measures.sizes import write_sizes
from foanet_jax.pages.report import make_report
from foanet_jax.pages.report.figures import FigureFile
from foanet_jax.pages.report.page import write_report_page
from foanet_jax.pages.report.results import SweepResult
from foanet_jax.pages.report.tables import make_tables
from tests.pages.parsed_page import Page
from tests.pages.report.sweep_results import make_result

HOSTILE = "<script>alert(1)</script>\"'&amp;<!--"
MESSAGE = f"out of memory: {HOSTILE}\nuse a smaller batch"


def hostile(result: SweepResult) -> SweepResult:
    """The first patient of every run and all that is said of him, under a name that would be a script."""

    def renamed(run):
        patient, case = run.scores[0].patient, run.scores[0].case
        scores = [
            dataclasses.replace(score, patient=HOSTILE, case=HOSTILE) if score.patient == patient else score
            for score in run.scores
        ]
        flags = {HOSTILE if name == case else name: [HOSTILE] for name in run.flags}
        return dataclasses.replace(
            run, scores=tuple(scores), flags=flags, record={**run.record, "platform": HOSTILE, "command": [HOSTILE]}
        )

    rows = [
        dataclasses.replace(
            row, title=f"{row.title} {HOSTILE}", change={HOSTILE: HOSTILE}, runs=tuple(map(renamed, row.runs))
        )
        for row in result.rows
    ]
    config = {**result.config, "data": {"root": HOSTILE}}
    return dataclasses.replace(result, title=HOSTILE, rows=tuple(rows), config=config)


def figures(folder: Path) -> list[FigureFile]:
    found = []
    for name in ("wide", "tall"):
        png = folder / f"{name}.png"
        Image.new("RGB", (1200, 400) if name == "wide" else (600, 900), "teal").save(png)
        found.append(FigureFile(name, f"A {name} figure {HOSTILE}", f"What to see {HOSTILE}.", png, png))
    return found


SWEEPS = {
    "whole": make_result(),
    "incomplete": make_result(failures={"a": {0: MESSAGE, 2: MESSAGE}}, missing={"c": [1]}),
    "unstarted": make_result(failures={"i": {0: MESSAGE}}, missing={"a": range(3), "c": range(3), "i": [1, 2]}),
    "single": make_result(rows=["i"], folds=1, single=True),
    "hostile": hostile(make_result(folds=2, failures={"a": {0: MESSAGE}})),
    "hostile single": hostile(make_result(rows=["i"], folds=1, single=True)),
}


@pytest.fixture(params=SWEEPS)
def result(request) -> SweepResult:
    return SWEEPS[request.param]


def page_of(result: SweepResult, folder: Path) -> Page:
    path = folder / "report.html"
    write_report_page(result, make_tables(result), figures(folder), path)
    return Page(path.read_text(encoding="utf-8"))


def test_well_formed(result, tmp_path):
    page = page_of(result, tmp_path)
    assert set(page.ids.values()) == {1}
    counts = Counter(tag for tag, _ in page.tags)
    assert counts["h1"] == counts["title"] == counts["main"] == 1
    assert counts["caption"] == counts["table"]
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert set(headings[1:]) == {2}
    assert ("html", {"lang": "en"}) in page.tags


def test_nothing_leaves_the_file(result, tmp_path):
    page = page_of(result, tmp_path)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert [(image["width"], image["height"]) for image in images] == [("1200", "400"), ("600", "900")]
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not any(name.startswith("on") or name in ("style", "srcset", "action") for name in attributes)
        if tag == "a":
            assert attributes["href"].removeprefix("#") in page.ids
        elif "href" in attributes:
            assert attributes["href"] == "data:,"
    assert "url(" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_hostile_names_are_text(tmp_path):
    page = page_of(SWEEPS["hostile"], tmp_path)
    assert page.text.count(HOSTILE) > 20
    assert "&lt;script" not in page.text  # Escaped once, not twice.


def test_every_number_of_the_tables_is_there(result, tmp_path):
    text = page_of(result, tmp_path).text
    for table in make_tables(result):
        for row in table.text_rows():
            assert all(" ".join(cell.split()) in text for cell in row), row
        assert all(" ".join(note.split()) in text for note in table.notes)


def test_what_went_wrong_stands_first(tmp_path):
    text = page_of(SWEEPS["incomplete"], tmp_path).text
    assert "of 9 runs 6 finished, 2 failed and 1 missing" in text
    # One cause of two failures is told once.
    assert f"What went wrong B + CCE, folds 0 and 2{MESSAGE}".replace("\n", " ") in text
    assert "BLP + CCE, fold 1: not finished" in text
    assert text.index("What went wrong") < text.index("Ablation study, LVQuan19: myocardium")
    assert "What went wrong" not in page_of(SWEEPS["whole"], tmp_path).text


def test_main_number_beside_the_papers(tmp_path):
    result = SWEEPS["whole"]
    dc = summarise(result.row("i").scores).row("myocardium").dc
    text = page_of(result, tmp_path).text
    assert f"BLP + FOA + CSD reaches a myocardium DC of {dc.mean:.3f} ± {dc.sd:.3f} (mean ± sd" in text
    assert "over 12 patients; paper: 0.879), with 0 misses of any class" in text
    assert "9 runs finished; 12 test patients" in text


def test_records_that_differ_are_counted(tmp_path):
    result = make_result(rows=["a"])
    first, *others = result.rows[0].runs
    first = dataclasses.replace(first, record={**first.record, "devices": ["cuda:0", "cuda:1"], "commit": None})
    row = dataclasses.replace(result.rows[0], runs=(first, *others))
    text = page_of(dataclasses.replace(result, rows=(row,)), tmp_path).text
    assert "TFRT_CPU_0 (2 runs); cuda:0, cuda:1 (1 run)" in text
    assert f"{'0' * 40} (2 runs); unknown (1 run)" in text


def test_folds_are_read_where_they_are(tmp_path):
    folds = [{"train": ["p1", "p2"], "validation": [], "test": [HOSTILE]}]
    (tmp_path / "folds.json").write_text(json.dumps({"folds": folds, "seed": 7}))
    text = page_of(make_result(folder=tmp_path), tmp_path).text
    assert "The folds were made with seed 7." in text
    assert HOSTILE in text


def test_names_that_are_not_utf8(tmp_path):
    result = make_result(rows=["a"], failures={"a": {0: "no such file: pat\udce9.nii"}})
    assert r"pat\udce9.nii" in page_of(result, tmp_path).text


def test_report_of_a_run(tmp_path, caplog):
    (run,) = make_result(rows=["i"], folds=1, single=True).rows[0].runs
    write_scores(run.scores, summarise(run.scores), tmp_path / "evaluation")
    write_sizes(run.sizes, tmp_path / "evaluation")
    (tmp_path / "evaluation" / "flags.json").write_text(json.dumps(run.flags))
    (tmp_path / "run.json").write_text(json.dumps(run.record))
    with caplog.at_level("INFO", "foanet_jax.pages.report"):
        path = make_report(tmp_path)
    assert path == tmp_path / "report" / "report.html"
    assert str(path) in caplog.text
    assert "One run of lvquan19, fold 0; 12 test patients." in Page(path.read_text(encoding="utf-8")).text
    assert {"main.md", "main.tex", "main.csv"} <= {file.name for file in (path.parent / "tables").iterdir()}
    assert list((path.parent / "figures").glob("*.pdf"))
