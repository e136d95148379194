"""The section about body size and reference values: what stands in it, and what it never tells."""

import dataclasses

import pytest

from foanet_jax.data.patients.body import Body
from foanet_jax.measures.body.context import Context
from foanet_jax.measures.body.surface import Pulse
from foanet_jax.measures.indices.ventricle import VentricleIndices, chamber
from foanet_jax.pages.study_page import write_study_page
from foanet_jax.pages.study_page.body import body_section
from tests.pages.parsed_page import Page
from tests.pages.study_page.results import cine_result, stack_result, volume_result

BODY = Body(180.0, 80.0, "male", 60, source="DICOM header")


def result(context):
    made = stack_result()
    left, right = (made.ventricle.left.volumes_ml * 0 + 60 for _ in range(2))
    left[0], right[0] = 150, 160
    ventricle = VentricleIndices(0, 1, chamber(left, 0, 1), chamber(right, 0, 1), 100.0, "")
    return dataclasses.replace(made, ventricle=ventricle, context=context)


def rows(context):
    """The cells of the table by the name of the index, and the whole text."""
    page = Page(f"<html>{body_section(result(context))}</html>")
    return page.text


def test_values_references_and_distances():
    text = rows(Context(BODY, pulse=Pulse(70, "DICOM HeartRate"), convention="cavity"))
    assert "Male, 60 years. Body surface 2.00 m² (Mosteller, from the DICOM header)." in text
    assert "Heart rate 70 per minute (from the DICOM HeartRate)" in text
    for told in ("75 ml/m²", "166 ± 32", "−0.5 sd", "58 ± 5", "+0.4 sd", "50 g/m²", "53 ± 9", "−0.3 sd", "6.3 l/min"):
        assert told in text
    assert "Petersen et al." in text
    assert "papillary muscles count to the cavity" in text
    assert "The mass of the RV is not measured" in text


def test_without_a_reference_it_says_why():
    text = rows(Context(dataclasses.replace(BODY, sex=None), convention="cavity"))
    assert "the sex of this patient is unknown" in text
    assert "75 ml/m²" in text
    assert "166" not in text
    assert "± " not in text


def test_without_height_and_weight_it_says_how_to_give_them():
    text = rows(Context())
    assert "Sex and age are not known. Height and weight are not known" in text
    assert "--patients" in text
    assert "ml/m²" not in text


@pytest.mark.parametrize("make", [cine_result, volume_result])
def test_a_study_without_a_heartbeat_has_no_section(make):
    assert body_section(make()) == ""


def test_the_page_has_neither_height_nor_weight(tmp_path):
    body = Body(187.25, 83.75, "female", 51, source="DICOM header")
    write_study_page(result(Context(body, convention="cavity")), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Female, 51 years" in page.text
    assert "187" not in page.text
    assert "83.7" not in page.text


def test_moved_papillary_muscles_are_told_with_both_volumes():
    made = result(Context(BODY, convention="myocardium"))
    moved = made.ventricle.left.volumes_ml * 0 + 10
    ventricle = dataclasses.replace(made.ventricle, papillary_ml=moved)
    text = Page(f"<html>{body_section(dataclasses.replace(made, ventricle=ventricle))}</html>").text
    assert "10 ml at end diastole and 10 ml at end systole" in text
    # As drawn, (160 − 70) / 160 = 56 % and 100 g − 1.05 g/ml · 10 ml = 89.5 g.
    assert "EDV 160 ml, ESV 70 ml, EF 56 %, mass 90 g" in text
    assert "these masks count them to the myocardium" in text
