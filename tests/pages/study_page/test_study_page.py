"""The page of a study: what is told first, well-formed, whole in one file, and deaf to what files are called."""

import base64
import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.image.boxes import Box
from foanet_jax.measures.indices.short_axis import CANONICAL_SEPTUM, lv_indices
from foanet_jax.measures.indices.ventricle import structure_volumes
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.measures.quality.summary import JoinedPatient
from foanet_jax.pages.study_page import IndexEntry, StudyResult, write_index_page, write_study_page
from foanet_jax.pages.study_page.numbers import frame_table, key_numbers, number, slice_table
from foanet_jax.pages.study_page.pictures import bullseyes, thickness_curves
from foanet_jax.pages.study_page.viewer.player import SCRIPT
from foanet_jax.system.errors import InputError
from tests.pages.parsed_page import Page
from tests.pages.study_page.results import cine_result, stack_result, volume_result

HOSTILE = "<script>alert(1)</script>\"'&amp;<!--"


def hostile(result):
    """Everything that a file can name, named as a script would be."""
    study = dataclasses.replace(
        result.study,
        patient=f"patient {HOSTILE}",
        case=f"case {HOSTILE}",
        group=HOSTILE,
        source=Path("/secret") / f"file {HOSTILE.replace('/', '_')}.nii",
    )
    return dataclasses.replace(
        result,
        study=study,
        flags=[(HOSTILE, f"sentence {HOSTILE}", f"place {HOSTILE}")],
        findings=[Finding("hole", f"message {HOSTILE}", 0, 1)],
        files={f"file {HOSTILE}": HOSTILE},
        verdict=HOSTILE,
        provenance={HOSTILE: {HOSTILE: HOSTILE}, "ünï": "\udce9"},
    )


RESULTS = {
    "stack": stack_result,
    "cine": cine_result,
    "volume": volume_result,
    "hostile": lambda: hostile(volume_result()),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Page]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, make in RESULTS.items():
        write_study_page(make(), folder / f"{name}.html")
        found[name] = Page((folder / f"{name}.html").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", RESULTS)
def test_well_formed_and_whole(pages, name):
    page = pages[name]
    assert set(page.ids.values()) == {1}
    assert [tag for tag, _ in page.tags].count("h1") == 1
    # The player and its data, which does not run.
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "player-data"}, {}]
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "form", "base")
        assert not any(key.startswith("on") or key in ("style", "srcset", "action") for key in attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
            assert attributes["alt"]
        if tag == "a":
            assert attributes["href"].removeprefix("#") in page.ids or attributes["href"].startswith("./")
        elif tag == "image":
            assert attributes["href"].startswith("data:image/webp;base64,")
        elif "href" in attributes:
            assert attributes["href"] == "data:,"
    assert "For research, not for diagnosis." in page.text


def test_only_our_script_may_run(pages, tmp_path):
    write_study_page(hostile(stack_result()), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.read_bytes()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'"
    )
    (found,) = [a["content"] for t, a in Page(text).tags if t == "meta" and "http-equiv" in a]
    assert found == policy
    assert text.count(f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>") == 1
    assert text.count("<script") == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stack", {"End diastole", "End systole", "Thickening", "Wall thickness"}),
        ("cine", {"End diastole", "End systole", "Thickening", "Wall thickness"}),
        ("volume", set()),
    ],
)
def test_pictures(pages, name, expected):
    images = [attributes["alt"] for tag, attributes in pages[name].tags if tag == "img"]
    assert sorted(images) == sorted(expected)


def test_links_to_files(tmp_path):
    files = {"Mask": "a b/c#d?e.nii.gz", f"Table {HOSTILE}": "//evil/javascript:x.csv"}
    write_study_page(dataclasses.replace(volume_result(), files=files), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links[:2] == ["./a%20b/c%23d%3Fe.nii.gz", ".///evil/javascript%3Ax.csv"]
    assert f"Files beside this page: Mask · Table {HOSTILE}" in page.text


def test_hostile_names_are_text(pages):
    text = pages["hostile"].text
    assert text.count(HOSTILE) >= 10
    assert "&lt;" not in text  # Escaped once, not twice.
    assert "/secret" not in text  # The name of a file, not where it lies.
    assert r"\udce9" in text


def test_verdict_and_reasons_stand_first(pages):
    text = pages["stack"].text
    order = [
        "phantom",
        "Check",
        "Confidence of the network: 0.81 of 1.",
        "The right ventricle leaks. frame 2",
        "LV ejection fraction",
    ]
    places = [text.index(said) for said in order]
    assert places == sorted(places)
    kinds = [attributes.get("class") for tag, attributes in pages["stack"].tags if tag == "section"]
    assert kinds[0] == "verdict check"
    assert "verdict" not in pages["volume"].ids


def test_a_single_frame_is_of_no_named_moment(tmp_path):
    study = short_axis_stack(1, size=64, slices=4)
    known = {"classes": study.classes, "spacing_mm": study.spacing_mm}
    indices = lv_indices(study.labels, septum_degrees=CANONICAL_SEPTUM, **known)
    result = StudyResult(study, study.labels, indices=indices, volumes_ml=structure_volumes(study.labels, **known))
    assert [picture.title for picture in bullseyes(result)] == ["Wall thickness"]
    write_study_page(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "diasto" not in page.replace(SCRIPT.read_text(encoding="utf-8"), "")


def test_key_numbers_of_a_stack():
    result = stack_result()
    found = {label: (value, unit) for label, value, unit in key_numbers(result)}
    left = result.ventricle.left
    assert found["LV ejection fraction"] == (f"{left.ef_percent:.0f}", "%")
    assert found["LV end-diastolic volume"] == (f"{left.edv_ml:.0f}", "ml")
    assert "RV end-systolic volume" in found


def test_affected_numbers_are_marked():
    affected = {"rv_esv_ml": ("class-gap", "low-confidence"), "rv_sv_ml": ("class-gap",)}
    result = dataclasses.replace(stack_result(), doubtful=("right ventricle",), affected=affected)
    found = {label: unit for label, _, unit in key_numbers(result)}
    assert found["RV end-systolic volume"] == "ml; affected by class-gap, low-confidence"
    assert found["RV end-diastolic volume"] == "ml"
    whole = dataclasses.replace(volume_result(), affected={"left_ventricle_ml": ("class-gap",)})
    assert [unit for _, _, unit in key_numbers(whole)] == ["ml; affected by class-gap", "ml"]


def test_the_verdict_names_classes_and_numbers(tmp_path):
    result = dataclasses.replace(
        stack_result(),
        doubtful=("right ventricle",),
        affected={"rv_sv_ml": ("class-gap",), "cardiac_output_l_min": ("jump",), "rv_esv_ml": ("jump",)},
    )
    write_study_page(result, tmp_path / "page.html")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "To check: right ventricle. Numbers affected: RV stroke volume, RV end-systolic volume." in text
    write_study_page(dataclasses.replace(result, affected={}), tmp_path / "none.html")
    assert "Numbers affected: none." in (tmp_path / "none.html").read_text(encoding="utf-8")


def test_key_numbers_of_a_cine():
    """Cavities of 120 and 80 pixels of 1.5 × 2 mm: 360 and 240 mm², a third less."""
    result = cine_result()
    indices = dataclasses.replace(result.indices, cavity_area_mm2=np.array([[360.0], [240.0], [300.0]]))
    found = key_numbers(dataclasses.replace(result, indices=indices))
    assert found[:3] == [
        ("Cavity area, largest", "360", "mm², frame 1"),
        ("Cavity area, smallest", "240", "mm², frame 2"),
        ("Fractional area change", "33", "%"),
    ]


def test_key_numbers_of_a_whole_heart():
    found = key_numbers(volume_result())
    assert found == [("Volume of left ventricle", "80", "ml"), ("Volume of right ventricle", "120", "ml")]


def test_tables():
    result = stack_result()
    header, rows = frame_table(result)
    assert header[:4] == ["Frame", "Time (ms)", "LV cavity (ml)", "RV cavity (ml)"]
    ed, es = result.end_frames
    assert [row[0] for row in rows] == [
        f"{t + 1}{' ED' if t == ed else ' ES' if t == es else ''}" for t in range(len(result.mask))
    ]
    assert rows[1][1] == "50"
    header, rows = slice_table(result, 0)
    assert header[-2:] == ["wall anteroseptal (mm)", "Remark"]
    assert len(rows) == result.mask.shape[1]
    header, _ = slice_table(cine_result(), 0)
    assert "wall 0° (mm)" in header  # The orientation is not known; 0° is on top.


def test_thickness_of_thirds():
    """Three slices are a third each; the larger cavity, last, is at the base."""
    indices = stack_result().indices
    indices = dataclasses.replace(
        indices,
        cavity_area_mm2=np.array([[1.0, 2.0, 3.0]]),
        rwt_mm=np.array([[[4.0] * 6, [6.0] * 6, [7.0, 9.0, *[np.nan] * 4]]]),
        flags=np.full((1, 3), ""),
    )
    study = short_axis_stack(1, size=64, slices=3)
    found = thickness_curves(StudyResult(study, study.labels, indices=indices))
    assert {name: curve.tolist() for name, curve in found.items()} == {"basal": [8], "mid": [6], "apical": [4]}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (30.85, "%", "31"),
        (4.2, "%", "4"),
        (275.4, "ml", "275"),
        (1234.5, "LV cavity (ml)", "1,234"),
        (9.94, "ml", "9.9"),
        (9.96, "ml", "10"),
        (58.34, "wall anterior (mm)", "58.3"),
        (142.44, "mm, frame 1", "142.4"),
        (142.4, "mm², frame 1", "142"),
        (np.nan, "ml", "–"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_results_that_do_not_fit_are_refused(tmp_path):
    result = cine_result()
    wrong = {
        "mask": {"mask": result.mask[:2]},
        "indices": {"indices": stack_result().indices},
        "volumes of cavity": {"volumes_ml": {"cavity": np.ones(7)}},
    }
    for said, change in wrong.items():
        with pytest.raises(InputError, match=said):
            write_study_page(dataclasses.replace(result, **change), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_nothing_segmented(tmp_path):
    """A study without a heart has a page as well."""
    result = cine_result()
    result = dataclasses.replace(result, mask=np.zeros_like(result.mask), indices=None, boxes=[Box(0, 0, 40, 40)])
    write_study_page(result, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Heart box" in page.text
    assert "Slice 1" in page.text


def test_index(tmp_path):
    thumbnail = np.full((200, 100, 3), 90, np.uint8)
    entries = [
        IndexEntry("good", "good.html", "good", "", 61.25, thumbnail),
        IndexEntry(HOSTILE, f"//evil/javascript:{HOSTILE}.html", "check", f"leaky {HOSTILE}"),
        IndexEntry("bad", "", "reject", "no heart", float("nan")),
        IndexEntry("odd", "a b/c#d?e.html", "unreadable", "damaged"),
    ]
    write_index_page(entries, tmp_path / "index.html", title=f"Studies {HOSTILE}")
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links[0] == "./a%20b/c%23d%3Fe.html"
    assert links[1].startswith(".///evil/javascript%3A%3Cscript")
    assert links[2] == "./good.html"
    # The worst first, and what is neither known nor judged with them.
    order = [page.text.index(said) for said in ("no heart", "damaged", "leaky", "good 61")]
    assert order == sorted(order)
    (shown,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert (shown["width"], shown["height"]) == ("48", "96")
    assert not any(tag == "script" for tag, _ in page.tags)


def test_index_of_patients_of_several_frames(tmp_path):
    patients = [
        JoinedPatient(
            "p1",
            ("p1_frame01", "p1_frame12"),
            "check",
            (),
            {"lv_ef_percent": 23.42, "lv_edv_ml": 292.3, "x": 1.0},
            affected={"lv_ef_percent": ("class-gap",)},
        ),
        JoinedPatient("p2", ("b", "c"), "reject", (), {"lv_edv_ml": 5.0}),
        JoinedPatient(HOSTILE, ("a", HOSTILE), "good", (), {"lv_ef_percent": float("nan"), "lv_edv_ml": 101.6}),
    ]
    write_index_page([IndexEntry("p1_frame01"), IndexEntry("p1_frame12")], tmp_path / "index.html", patients=patients)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "2 studies" in page.text
    assert page.text.index("p2 reject") < page.text.index("p1 check") < page.text.index("good –")
    assert (
        "Patient Verdict LV EF (%) LV EDV (ml) Frames p2 reject – 5 b, c p1 check 23 * 292 p1_frame01, p1_frame12"
        in page.text
    )
    assert f"{HOSTILE} good – 102 a, {HOSTILE}" in page.text
    assert page.text.index("Frames") < page.text.index("Reason")
    assert not any(tag == "script" for tag, _ in page.tags)


def test_index_of_nothing(tmp_path):
    write_index_page([], tmp_path / "index.html")
    assert "0 studies." in Page((tmp_path / "index.html").read_text(encoding="utf-8")).text
