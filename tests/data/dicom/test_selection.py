"""The short-axis cine of a whole study is found by its planes and contents; what is left out is told."""

import logging

import numpy as np
import pytest

from foanet_jax.data.dicom import find_dicom
from foanet_jax.data.dicom.stacks.views import View, not_short_axis, short_axis_cines
from foanet_jax.data.dicom.technique import Technique, same_technique, seconds_of_day
from foanet_jax.data.dicom.wanted import Wanted
from tests.data.dicom.export import AXIAL, AXIS, FOUR_CHAMBERS, SAGITTAL, TWO_CHAMBERS, patient, series
from tests.data.dicom.test_dicom import edit, edit_all


def listed(folder, **options):
    """The chosen cases, and what the series that were left out seem to be, by number."""
    found = find_dicom(folder, **options)
    assert not found.failing
    left_out = [other for others in found.left_out.values() for other in others]
    return [ref.case for ref in found.refs], {other.series: other.seems for other in left_out}


def view(normal, slices=8, frames=25, content="", beat=True):
    return View(slices, frames, beat, np.asarray(normal) / np.linalg.norm(normal), content)


@pytest.fixture(scope="module")
def eva(tmp_path_factory):
    """A folder with the whole study of a patient in its folder eva."""
    folder = tmp_path_factory.mktemp("export")
    patient(folder / "eva", "eva")
    return folder


def test_the_short_axis_cine_of_a_whole_study(eva, caplog):
    with caplog.at_level(logging.INFO):
        cases, others = listed(eva / "eva")
    assert cases == ["s4"]
    assert others == {
        1: "localizer",
        2: "long-axis cine",
        3: "long-axis cine",
        5: "cine in another plane",
        6: "late enhancement",
        7: "phase images",
        8: "parametric map",
        9: "cine of a few slices",
        10: "stack of one moment",
    }
    told = [text for text in caplog.messages if text.startswith("left out: ")]
    assert len(told) == 9
    assert f"left out: series 2 in {eva / 'eva' / 's2'} (6 images): long-axis cine; 1 slice; its planes are " in (
        "\n".join(told)
    )
    assert "(9 images): localizer; 3 slices, 1 frame: a cine has 5 frames or more" in "\n".join(told)


def test_series_that_are_asked_for(eva):
    assert listed(eva, wanted=Wanted(tuple(["6", "2"])))[0] == ["eva_s2", "eva_s6"]
    assert listed(eva, wanted=Wanted(tuple(["4"])))[0] == ["eva_s4"]
    cases, others = listed(eva, wanted=Wanted(tuple(["all"])))
    assert (len(cases), others) == (12, {})
    found = find_dicom(eva / "eva", wanted=Wanted(tuple(["2.999.100", "11"])))
    assert [ref.case for ref in found.refs] == ["s1", "s101", "s201"]
    assert found.matched == {"2.999.100"}
    assert found.series["4"] == "short-axis cine"


def test_a_folder_without_a_short_axis_cine_is_read_as_it_is(tmp_path, caplog):
    series(tmp_path, "eva", 1, AXIS, (1, 6, 8, 9))
    assert listed(tmp_path) == (["s1"], {})
    assert "no short-axis cine" not in caplog.text
    series(tmp_path, "eva", 2, FOUR_CHAMBERS, (6, 1, 8, 9))
    assert listed(tmp_path) == (["s1", "s2"], {})
    assert "no short-axis cine among the 2 stacks of this patient" in caplog.text
    series(tmp_path, "eva", 3, AXIS)
    series(tmp_path, "eva", 4, AXIS, seed=5)
    assert listed(tmp_path)[0] == ["s3", "s4"]


def test_what_is_left_out_changes_no_names_and_hides_no_damage(tmp_path):
    paths = [*series(tmp_path, "eva", 1), *series(tmp_path, "eva", 2, AXIS, (1, 6, 8, 9))]
    for number, path in enumerate(paths):
        path.rename(tmp_path / f"{number}")
    edit(tmp_path / "40", Rows=None)
    (tmp_path / "lost").write_bytes((tmp_path / "0").read_bytes()[:200])
    found = find_dicom(tmp_path)
    assert [ref.case for ref in found.refs] == [tmp_path.name, f"{tmp_path.name}_40", f"{tmp_path.name}_lost"]
    assert list(found.failing) == [ref.case for ref in found.refs[1:]]
    assert found.refs[0].load().voxels.shape[:2] == (6, 6)


@pytest.mark.parametrize(
    ("views", "chosen"),
    [
        ([view(AXIS)], [0]),
        ([view(-AXIS)], [0]),
        ([view(AXIS, slices=4)], []),
        ([view(AXIS, frames=4)], []),
        ([view(AXIS, beat=False)], []),
        ([view(AXIS, content="phase images")], []),
        ([view(AXIAL)], []),
        ([view(SAGITTAL)], []),
        ([view(AXIS), view(FOUR_CHAMBERS), view(AXIAL)], [0]),
        # Perpendicular to a long axis, and parallel to what would be one.
        ([view(AXIS), view(FOUR_CHAMBERS, slices=1)], [0]),
        ([view(AXIS), view(AXIS + 0.1, slices=1)], []),
        # A heart on the other side, known by two long axes alone; its own four-chamber stack crosses only one.
        ([view([-0.66, -0.6, -0.45]), view([0.6, -0.8, 0.19], slices=1), view([0.45, -0.1, -0.52], slices=1)], [0]),
        ([view([-0.66, -0.6, -0.45]), view([0.6, -0.8, 0.19], slices=1)], []),
        ([view(FOUR_CHAMBERS), view(FOUR_CHAMBERS, slices=1), view(TWO_CHAMBERS, slices=1)], []),
    ],
)
def test_planes(views, chosen):
    assert short_axis_cines(views) == chosen


def test_frames_over_several_beats_are_no_cine(tmp_path):
    for number, path in enumerate(series(tmp_path, "eva", 1)):
        edit(path, TriggerTime=0, AcquisitionTime=f"1200{number % 6 * 2:02d}.5")
    series(tmp_path, "eva", 2)
    assert listed(tmp_path) == (["s2"], {1: "series over several heartbeats"})


def test_what_must_not_pass_for_a_short_axis(eva):
    assert not_short_axis(view(AXIS)) == not_short_axis(view(AXIS, slices=1, frames=1)) == ""
    assert not_short_axis(view(FOUR_CHAMBERS, slices=1)) == "the planes are turned by 89° against the usual short axis"
    found = {ref.case: ref.load().findings for ref in find_dicom(eva / "eva", wanted=Wanted(tuple(["all"]))).refs}
    assert found["s4"] == found["s9"] == found["s10"] == ()
    assert [code for code, _ in found["s2"]] == ["not-short-axis"]
    assert found["s6"] == (("not-short-axis", "the images seem to be of another kind (late enhancement)"),)


def test_techniques():
    cine = Technique(frozenset({"GR", "SS"}), 1.5, 45.0)
    assert same_technique(cine, Technique(frozenset({"GR", "SS"}), 1.6, 50.0))
    assert same_technique(cine, Technique())
    assert not same_technique(cine, Technique(frozenset({"GR", "SP"}), 1.5, 45.0))
    assert not same_technique(cine, Technique(frozenset({"GR", "SS"}), 3.0, 45.0))
    assert seconds_of_day("083920.638055") == pytest.approx(31160.638055)
    assert seconds_of_day("0839") == seconds_of_day(None) == seconds_of_day("x") == -1


def test_words_are_only_a_second_witness(tmp_path):
    series(tmp_path, "eva", 1, SeriesDescription="LGE localizer")
    edit_all(series(tmp_path, "eva", 2, AXIS, (1, 6, 8, 9)), ProtocolName="SAX LGE")
    assert listed(tmp_path) == (["s1"], {2: "late enhancement"})
