"""What the player has: every image, contours as large as the mask, all doubts, and a page that is small enough."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.window import intensity_window
from foanet_jax.measures.indices.counting import SliceCount
from foanet_jax.measures.indices.ventricle import structure_volumes
from foanet_jax.measures.quality.finding import Finding
from foanet_jax.pages.study_page import StudyResult, write_study_page
from foanet_jax.pages.study_page.viewer import greys
from foanet_jax.pages.study_page.viewer.doubts import Doubt, doubted, doubts
from foanet_jax.pages.study_page.viewer.timeline import nice_ticks
from tests.pages.drawing.test_borders import enclosed, read
from tests.pages.parsed_page import Page
from tests.pages.study_page.results import cine_result, stack_result, volume_result

FINDINGS = [
    Finding("jump", "a jump", frame=2),
    Finding("hole", "a hole", 3, 1),
    Finding("fragmented", "two pieces", 3, 1),
    Finding("hole", "a hole", 1, 0),
    Finding("uneven-brightness", "too bright", slice_=3),
    Finding("dark-blood", "dark"),
]


def written(result, folder) -> tuple[Page, dict]:
    """The page of a result, and the data of its player."""
    write_study_page(result, folder / "page.html")
    text = (folder / "page.html").read_text(encoding="utf-8")
    return Page(text), json.loads(re.search(r'id="player-data">(.*?)</script>', text)[1])


def decoded(file: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(file))) as image:
        return np.asarray(image.convert("L"))


def noisy(frames: int, slices: int, size: int, signal: float) -> StudyResult:
    """A heart of two rings as bright as `signal`, and noise with a standard deviation of 1."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - size / 2
    plane = np.select([np.hypot(x, y) < size / 9, np.hypot(x, y) < size / 6], [2, 1]).astype(np.uint8)
    mask = np.broadcast_to(plane, (frames, slices, size, size))
    voxels = rng.standard_normal(mask.shape, np.float32) + np.float32(signal) * (mask > 0)
    study = Study("p", "noisy", voxels, (8, 1.5, 1.5), LV_CLASSES)
    volumes = structure_volumes(mask, classes=study.classes, spacing_mm=study.spacing_mm)
    return StudyResult(study, mask, volumes_ml=volumes)


@pytest.mark.parametrize("make", [stack_result, cine_result, volume_result])
def test_every_image_with_contours_as_large_as_the_mask(make, tmp_path):
    result = make()
    _, data = written(result, tmp_path)
    assert tuple(data["shape"]) == result.mask.shape
    low, high = intensity_window(result.study.voxels)
    for t, frame in enumerate(result.mask):
        for z, plane in enumerate(frame):
            expected = np.clip((result.study.voxels[t, z] - low) / (high - low), 0, 1)
            found = decoded(data["images"][t][z]) / 255
            assert found.shape == plane.shape
            assert np.sqrt(np.mean((found - expected) ** 2)) < 0.035
            areas = [sum(map(enclosed, read(path))) for path in data["contours"][t][z]]
            assert areas == [np.count_nonzero(plane == index) for index in range(1, len(result.study.classes))]
    (frames, slices) = result.mask.shape[:2]
    assert len(data["images"]) == len(data["contours"]) == frames
    assert {len(frame) for frame in data["images"]} == {slices}


@pytest.mark.parametrize(("signal", "side"), [(20, 256), (0, 128)])
def test_a_cine_is_small_enough(signal, side, tmp_path):
    """A signal-to-noise ratio of 20 is worse than that of any cine. Nothing but noise needs coarser images."""
    _, data = written(noisy(20, 13, 256, signal), tmp_path)
    assert 3e6 < (tmp_path / "page.html").stat().st_size <= 8e6
    assert decoded(data["images"][7][3]).shape == (side, side)


def test_images_get_coarser_where_there_is_no_room(monkeypatch):
    voxels = noisy(2, 2, 64, 0).study.voxels
    fine = greys.encode_greys(voxels)
    monkeypatch.setattr(greys, "_LEAST_BYTES", 1000)
    monkeypatch.setattr(greys, "_BYTES_PER_PIXEL", 0)
    coarse = greys.encode_greys(voxels)
    assert (fine.reduced, coarse.reduced) == (1, 4)
    assert sum(len(file) for frame in coarse.files for file in frame) <= 1000
    with Image.open(io.BytesIO(coarse.files[0][0])) as image:
        assert image.size == (16, 16)


def test_all_doubts_are_listed(tmp_path):
    result = dataclasses.replace(stack_result(), findings=FINDINGS)
    assert doubts(FINDINGS) == [
        Doubt(2, None, ("a jump",)),
        Doubt(1, 0, ("a hole",)),
        Doubt(3, 1, ("a hole", "two pieces")),
        Doubt(None, 3, ("too bright",)),
    ]
    expected = np.zeros((4, 4), bool)
    expected[2], expected[1, 0], expected[3, 1], expected[:, 3] = True, True, True, True
    np.testing.assert_array_equal(doubted(result), expected)
    page, _ = written(result, tmp_path)
    assert "In doubt: 9 of 16 images" in page.text
    assert "Slice 2, frame 4 a hole; two pieces" in page.text
    listed = [
        (attributes.get("data-frame"), attributes.get("data-slice"))
        for tag, attributes in page.tags
        if tag == "button" and set(attributes) <= {"type", "data-frame", "data-slice"}
    ]
    assert listed == [("2", None), ("1", "0"), ("3", "1"), (None, "3")]


@pytest.mark.parametrize(
    ("doubt", "shape", "place"),
    [
        (Doubt(6, 2, ()), (20, 13), "Slice 3, frame 7"),
        (Doubt(6, 0, ()), (20, 1), "Frame 7"),
        (Doubt(0, 2, ()), (1, 13), "Slice 3"),
        (Doubt(None, 2, ()), (20, 13), "Slice 3"),
        (Doubt(0, 0, ()), (1, 1), "Image"),
    ],
)
def test_place_of_a_doubt(doubt, shape, place):
    assert doubt.place(shape) == place


def test_nothing_in_doubt(tmp_path):
    page, _ = written(stack_result(), tmp_path)
    assert "doubt" not in page.text.lower()


def test_what_is_told_of_a_frame(tmp_path):
    result = stack_result()
    _, data = written(result, tmp_path)
    left, right = (side.volumes_ml for side in (result.ventricle.left, result.ventricle.right))
    assert data["told"][0] == f"LV cavity {left[0]:.0f} ml, RV cavity {right[0]:.0f} ml"
    ed, es = result.end_frames
    assert data["moments"] == {str(ed): "end diastole", str(es): "end systole"}
    assert data["first"][0] == ed
    assert data["frame_ms"] == 50
    _, data = written(cine_result(), tmp_path)
    assert data["frame_ms"] == pytest.approx(1000 / 3)  # The time is not known: a beat takes a second.


def test_time_line_of_a_slice_shows_areas(tmp_path):
    page, _ = written(cine_result(), tmp_path)
    assert "LV cavity (mm²) myocardium (mm²)" in page.text
    page, _ = written(volume_result(), tmp_path)
    assert "timeline" not in page.ids


def test_without_scripts_there_are_the_slices_at_both_moments(tmp_path):
    result = stack_result()
    page, _ = written(result, tmp_path)
    ed, es = result.end_frames
    shown = [attributes.get("aria-label", "") for tag, attributes in page.tags if tag == "svg"]
    for frame, name in ((ed, "End diastole"), (es, "End systole")):
        for z in np.flatnonzero(result.mask[frame].any((1, 2))):
            assert f"Slice {z + 1}, {name}, frame {frame + 1}" in shown
    (hidden,) = [attributes for tag, attributes in page.tags if attributes.get("id") == "player"]
    assert hidden["hidden"] == ""


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (188, [0, 50, 100, 150]),
        (100, [0, 20, 40, 60, 80, 100]),
        (7, [0, 2, 4, 6]),
        (0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (0, [0]),
    ],
)
def test_ticks(highest, ticks):
    assert nice_ticks(highest) == pytest.approx(ticks)


def test_left_out_slices_are_told(tmp_path):
    result = stack_result()
    reasons = np.full((2, 4, 4), "", "<U20")
    reasons[0, 1, 2] = "too open"
    count = SliceCount("scmr", True, np.ones((4, 4)), reasons == "", reasons)
    page, data = written(dataclasses.replace(result, count=count), tmp_path)
    told = [(t, z, text) for t, frame in enumerate(data["left_out"]) for z, text in enumerate(frame) if text]
    assert [place[:2] for place in told] == [(1, 2)]
    assert told[0][2].endswith("left out: too open")
    lines = [attributes["d"] for tag, attributes in page.tags if attributes.get("class") == "left-out"]
    assert lines[0].count("M") == 1
    assert "left out of a volume" in page.text
