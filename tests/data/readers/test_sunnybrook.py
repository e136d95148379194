"""Sunnybrook: contours by hand, both layouts, and the two patients where they are there."""

import dataclasses
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from foanet_jax.data.catalogue import open_catalogue
from foanet_jax.data.dicom import DicomSource
from foanet_jax.data.phantom.writers import write_sunnybrook
from foanet_jax.data.readers.sunnybrook import fill_contour, list_sunnybrook, read_contours, read_sunnybrook_cine
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "sunnybrook"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the Sunnybrook data are not beside the project")

AFFINE = np.array([[-1.4, 0, 0, 60], [0, -1.2, 0, 50], [0, 0, 8, -30], [0, 0, 0, 1.0]])


def heart(frames=4, slices=3, size=(24, 28), seed=0):
    """Rings that shrink from the first frame to the third and from the base to the apex; no heart in the last slice."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.zeros((frames, slices, *size), np.uint8)
    for t, z in np.ndindex(frames, slices - 1):
        radius = np.hypot(rows - 11.2, columns - 13.7 + z)
        inner = 5.5 - z - min(t, 2)
        labels[t, z][radius < inner + 3] = 1
        labels[t, z][radius < inner] = 2
    noise = np.random.default_rng(seed).integers(0, 20, labels.shape)
    voxels = (np.array([50, 100, 300])[labels] + noise).astype(np.float32)
    return Study("p", "p", voxels, (8.0, 1.2, 1.4), LV_CLASSES, labels, AFFINE)


@pytest.fixture
def root(tmp_path):
    write_sunnybrook(heart(), tmp_path, patient="SCD0000101", original="SC-HF-I-1", ed_frame=0, es_frame=2)
    write_sunnybrook(heart(seed=1), tmp_path, patient="SCD0000901", original="SC-N-12", ed_frame=1)
    return tmp_path


def code_and_text(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return caught.value.code, str(caught.value)


def a_contour(root, kind="i", number=1):
    return root / "contourfiles" / "SC-HF-I-1" / f"{kind}-contours" / f"IM-0001-{number:04d}-{kind}contour-manual.txt"


# Filling.


def test_a_square_between_the_pixels():
    """Corners at ½: exactly the 2 × 3 pixels inside."""
    points = np.array([[0.5, 1.5], [3.5, 1.5], [3.5, 3.5], [0.5, 3.5]])
    expected = np.zeros((5, 6), bool)
    expected[2:4, 1:4] = True
    np.testing.assert_array_equal(fill_contour(points, (5, 6)), expected)
    np.testing.assert_array_equal(fill_contour(points[::-1], (5, 6)), expected)


def test_a_square_on_the_pixels():
    """Corners on centres: the left column and the upper row are in, the right and the lower are out."""
    points = np.array([[1, 1], [4, 1], [4, 3], [1, 3]])
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(fill_contour(points, (5, 6)), expected)


def test_polygons_that_meet_share_no_pixel():
    left = np.array([[0, 0], [3, 0], [5, 6], [0, 6]])
    right = np.array([[3, 0], [8, 0], [8, 6], [5, 6]])
    both = np.array([[0, 0], [8, 0], [8, 6], [0, 6]])
    np.testing.assert_array_equal(
        fill_contour(left, (8, 9)).astype(int) + fill_contour(right, (8, 9)), fill_contour(both, (8, 9))
    )


def test_a_triangle_and_the_border():
    # The row 2 is crossed at x = 2 and x = 4: its centres 2 and 3 are inside.
    points = np.array([[3, 1], [5, 3], [1, 3]])
    assert np.argwhere(fill_contour(points, (5, 6))).tolist() == [[2, 2], [2, 3]]
    everything = np.array([[-0.5, -0.5], [5.5, -0.5], [5.5, 4.5], [-0.5, 4.5]])
    assert fill_contour(everything, (5, 6)).all()


@settings(max_examples=100, deadline=None)
@given(st.floats(3, 9), st.floats(3, 9), st.floats(0.3, 1), st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)))
def test_ellipses_by_their_equation(a, b, flat, off):
    """As many pixels as the polygon has area, up to its edge, and those whose centres are inside."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    points = np.stack([15 + off[0] + a * np.cos(angles), 14 + off[1] + flat * b * np.sin(angles)], axis=1)
    mask = fill_contour(points, (30, 31))
    x, y = points.T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    length = np.hypot(*(points - np.roll(points, 1, axis=0)).T).sum()
    assert abs(mask.sum() - area) <= 0.5 * length
    # The polygon of 90 corners lies between the ellipse and the one cos(2°) as large.
    rows, columns = np.mgrid[:30, :31]
    level = np.hypot((columns - 15 - off[0]) / a, (rows - 14 - off[1]) / (flat * b))
    assert not mask[level > 1].any()
    assert mask[level < np.cos(np.pi / 90)].all()


# Layouts.


def test_labelled_studies(root):
    refs = list_sunnybrook(root)
    assert [(ref.patient, ref.case, ref.group) for ref in refs] == [
        ("SC-HF-I-1", "SC-HF-I-1_ed", "HF-I"),
        ("SC-N-12", "SC-N-12_ed", "N"),
    ]
    for ref, t, seed in zip(refs, (0, 1), (0, 1), strict=True):
        study, original = pickle.loads(pickle.dumps(ref)).load(), heart(seed=seed)
        assert (study.patient, study.case, study.group) == (ref.patient, ref.case, ref.group)
        # The last slice has no contours.
        np.testing.assert_array_equal(study.voxels, original.voxels[t : t + 1, :2])
        np.testing.assert_array_equal(study.labels, original.labels[t : t + 1, :2])
        np.testing.assert_allclose(study.spacing_mm, original.spacing_mm)
        np.testing.assert_allclose(study.affine, original.affine, atol=1e-9)
        assert isinstance(study.header, DicomSource)
        assert [path.name for path in study.header.files[0]] == [f"{t + 1}.dcm", f"{t + 5}.dcm"]


def test_the_affine_starts_at_the_first_labelled_slice(tmp_path):
    study = heart(slices=4)
    study = dataclasses.replace(study, labels=study.labels[:, ::-1], voxels=study.voxels[:, ::-1])
    write_sunnybrook(study, tmp_path, patient="SCD0000101", original="SC-HF-I-1")
    (ref,) = list_sunnybrook(tmp_path)
    loaded = ref.load()
    np.testing.assert_array_equal(loaded.voxels, study.voxels[:1, 1:])
    np.testing.assert_allclose(loaded.affine @ [2, 3, 0, 1], AFFINE @ [2, 3, 1, 1])


def test_the_cine(root):
    cine = read_sunnybrook_cine(root, "SC-HF-I-1")
    assert (cine.patient, cine.case, cine.labels) == ("SC-HF-I-1", "SC-HF-I-1_cine", None)
    np.testing.assert_array_equal(cine.voxels, heart().voxels)
    refs = open_catalogue("sunnybrook", root, frames="cine")
    assert [ref.case for ref in refs] == ["SC-HF-I-1_cine", "SC-N-12_cine"]
    np.testing.assert_array_equal(refs[0].load().voxels, cine.voxels)
    code, text = code_and_text(read_sunnybrook_cine, root, "SC-HF-I-2")
    assert code == "unknown-patient"
    assert "SC-HF-I-1, SC-N-12" in text


def test_contours_of_both_phases(root):
    contours = read_contours(root, "SC-HF-I-1")
    found = [(contour.slice, contour.frame, contour.kind) for contour in contours]
    phases = [(0, "endocardium"), (0, "epicardium"), (2, "endocardium")]
    assert found == [(z, t, kind) for z in (0, 1) for t, kind in phases]
    labels = heart().labels
    for contour in contours:
        plane = labels[contour.frame, contour.slice]
        expected = plane == 2 if contour.kind == "endocardium" else plane > 0
        np.testing.assert_array_equal(fill_contour(contour.points, plane.shape), expected)


def test_the_official_layout(root, tmp_path_factory):
    official = tmp_path_factory.mktemp("official")
    lines = ["PatientID,OriginalID,Gender,Age,Pathology", "SCD0000101,SC-HF-I-1,M,60,HF", "SCD0000201,SC-HF-I-2,F,1,HF"]
    (official / "scd_patientdata.csv").write_text("\n".join(lines))
    series = official / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_300"
    series.mkdir(parents=True)
    for path in (root / "dicoms" / "SCD0000101").iterdir():
        shutil.copy(path, series / f"IM-0003-{int(path.stem):04d}.dcm")
    (series.parent / "CINELAX_299").mkdir()
    # A second short-axis series, too short for the contours' numbers.
    (series.parent / "CINESAX_3").mkdir()
    shutil.copy(path, series.parent / "CINESAX_3" / "IM-0001-0001.dcm")
    contours = official / "SCD_ManualContours" / "SC-HF-I-01" / "contours-manual" / "IRCCI-expert"
    contours.mkdir(parents=True)
    for path in (root / "contourfiles" / "SC-HF-I-1").rglob("*.txt"):
        shutil.copy(path, contours)
    (contours / "IM-0001-0001-p1-manual.txt").write_text("papillary muscles")
    (ref,) = list_sunnybrook(official)
    assert (ref.patient, ref.group) == ("SC-HF-I-1", "HF-I")
    there = next(ref for ref in list_sunnybrook(root) if ref.patient == "SC-HF-I-1").load()
    np.testing.assert_array_equal(ref.load().voxels, there.voxels)
    np.testing.assert_array_equal(ref.load().labels, there.labels)


def test_the_longest_run_of_labelled_slices(tmp_path, caplog):
    study = heart(slices=5, size=(24, 28))
    write_sunnybrook(study, tmp_path, patient="SCD0000101", original="SC-HF-I-1")
    a_contour(tmp_path, "o", 1 + 4).unlink()
    (ref,) = list_sunnybrook(tmp_path)
    with caplog.at_level(logging.WARNING):
        loaded = ref.load()
    np.testing.assert_array_equal(loaded.labels, study.labels[:1, 2:4])
    assert "[1]" in caplog.text


def test_end_diastole_has_the_larger_cavity(root):
    """Outer contours of both phases: the frame with the smaller cavity is not taken."""
    for z in (0, 1):
        shutil.copy(a_contour(root, "o", 4 * z + 1), a_contour(root, "o", 4 * z + 3))
    study = list_sunnybrook(root)[0].load()
    np.testing.assert_array_equal(study.labels, heart().labels[:1, :2])


# What is wrong.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 different points"),
        ("3 4\n5 6\n", "2 different points"),
        ("3 4\n5 6\n3 4\n", "2 different points"),
        ("3 4\n5 6\n7 nan\n", "line 3"),
        ("3 4\ninf 6\n7 8\n", "line 2"),
        ("3 4\n5 six\n7 8\n", "'5 six'"),
        ("3 4\n5\n7 8\n", "line 2"),
        ("3 4 5\n", "line 1"),
        ("3 4\n5 6\n0.4 8\n", "(0.4, 8), lies outside"),
        ("3 4\n5 6\n8 24.6\n", "28 columns × 24 rows"),
        ("3 4\n5 6\n28.6 8\n", "outside"),
        ("\0\1\2", "line 1"),
    ],
)
def test_bad_contours(root, text, said):
    path = a_contour(root)
    path.write_text(text)
    code, message = code_and_text(list_sunnybrook(root)[0].load)
    assert code == "contour"
    assert said in message
    assert str(path) in message
    assert code_and_text(read_contours, root, "SC-HF-I-1") == (code, message)


def test_a_contour_that_is_no_small_text(root):
    path = a_contour(root)
    path.write_bytes(b"1 1\n" * 2**19)
    assert code_and_text(read_contours, root, "SC-HF-I-1")[0] == "too-large"
    path.unlink()
    path.mkdir()
    assert code_and_text(read_contours, root, "SC-HF-I-1")[0] == "unreadable"


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=40) | st.text("0123456789 .-+e\nnaif", max_size=40))
def test_no_text_ends_in_a_traceback(tmp_path_factory, content):
    if "root" not in _CACHE:
        _CACHE["root"] = tmp_path_factory.mktemp("damaged")
        study = heart(frames=1, slices=2)
        write_sunnybrook(study, _CACHE["root"], patient="SCD0000101", original="SC-HF-I-1")
    path = a_contour(_CACHE["root"])
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        contours = read_contours(_CACHE["root"], "SC-HF-I-1")
    except InputError:
        return
    assert all(np.isfinite(contour.points).all() for contour in contours)


_CACHE: dict[str, Path] = {}


def test_what_is_missing_is_named_at_once(root):
    (root / "dicoms" / "SCD0000101" / "3.dcm").unlink()
    shutil.rmtree(root / "dicoms" / "SCD0000901")
    (root / "contourfiles" / "SC-X-1").mkdir()
    code, text = code_and_text(list_sunnybrook, root)
    assert code == "incomplete"
    assert "no images 3, which the contours of SC-HF-I-1 need" in text
    assert "no folder SCD0000901" in text
    assert "SC-X-1: is not in link.csv" in text
    problems: list[str] = []
    assert open_catalogue("sunnybrook", root, problems=problems) == []
    assert len(problems) == 3


def test_roots_that_hold_nothing(tmp_path, root):
    assert code_and_text(list_sunnybrook, tmp_path / "none")[0] == "missing-root"
    (tmp_path / "empty").mkdir()
    code, text = code_and_text(list_sunnybrook, tmp_path / "empty")
    assert code == "empty-root"
    assert "link.csv" in text
    (root / "link.csv").write_text("a,b\n")
    assert code_and_text(list_sunnybrook, root)[0] == "link"
    (root / "link.csv").write_text("patient_id,original_id\n../../etc,SC-HF-I-1\n")
    assert code_and_text(list_sunnybrook, root)[0] == "link"
    assert code_and_text(list_sunnybrook, root, frames="all")[0] == "frames"


def test_an_unlabelled_patient(root):
    for kind in "o":
        shutil.rmtree(root / "contourfiles" / "SC-HF-I-1" / f"{kind}-contours")
    assert code_and_text(list_sunnybrook(root)[0].load)[0] == "no-labels"
    shutil.rmtree(root / "contourfiles" / "SC-HF-I-1" / "i-contours")
    code, text = code_and_text(list_sunnybrook, root)
    assert code == "incomplete"
    assert "no IM-0001-NNNN-icontour-manual.txt" in text


def test_what_the_writer_refuses(tmp_path):
    study = heart()
    ids = {"patient": "SCD0000101", "original": "SC-HF-I-1"}
    pieces = study.labels.copy()
    pieces[0, 0, 1, 1] = 2
    for wrong in ({"labels": None}, {"labels": pieces}, {"classes": ("background", "a", "b")}):
        assert (
            code_and_text(write_sunnybrook, dataclasses.replace(study, **wrong), tmp_path / "x", **ids)[0] == "layout"
        )
    assert code_and_text(write_sunnybrook, study, tmp_path / "x", **ids, es_frame=4)[0] == "layout"
    assert not (tmp_path / "x").exists()


# Real files.


@pytest.fixture(scope="module")
def real():
    return {ref.patient: ref.load() for ref in list_sunnybrook(REAL)} if REAL.is_dir() else {}


@pytest.fixture(scope="module")
def real_contours(real):
    return {name: read_contours(REAL, name) for name in real}


@real_data
def test_real_patients(real):
    assert {name: study.voxels.shape for name, study in real.items()} == {
        "SC-HF-I-1": (1, 9, 256, 256),
        "SC-HF-I-4": (1, 10, 256, 256),
    }
    # Contours 59, 79, …, 219 and 20, 40, …, 200 from base to apex; the stack runs from apex to base.
    files = {name: [int(path.stem) for path in study.header.files[0]] for name, study in real.items()}
    assert files == {"SC-HF-I-1": list(range(219, 58, -20)), "SC-HF-I-4": list(range(200, 19, -20))}
    for study in real.values():
        counts = np.bincount(study.labels.ravel(), minlength=3)
        millilitres = counts * np.prod(study.spacing_mm) / 1000
        # The data set's group has 245 ± 86 ml at end diastole and 201 g of myocardium.
        assert 150 < millilitres[2] < 300
        assert 100 < 1.05 * millilitres[1] < 250
        for image, labels in zip(study.voxels[0], study.labels[0], strict=True):
            cavity, ring = labels == 2, labels == 1
            assert image[cavity].mean() > 1.7 * image[ring].mean()
            # The cavity lies within the ring.
            np.testing.assert_array_equal(ndimage.binary_fill_holes(cavity), cavity)
            assert ndimage.label(labels > 0)[1] == 1


@real_data
def test_real_masks_have_the_area_of_their_contours(real, real_contours):
    """Every mask to half a pixel along its outline, and all of them together to half a percent."""
    filled, enclosed = [], []
    for name, contours in real_contours.items():
        for contour in contours:
            mask = fill_contour(contour.points, real[name].voxels.shape[2:])
            x, y = contour.points.T
            area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
            length = np.hypot(*(contour.points - np.roll(contour.points, 1, axis=0)).T).sum()
            assert abs(mask.sum() - area) <= 0.5 * length, contour.path
            filled.append(mask.sum())
            enclosed.append(area)
    assert len(filled) == 57
    assert sum(filled) == pytest.approx(sum(enclosed), rel=0.005)


@real_data
def test_real_contours_lie_where_a_heart_is(real_contours):
    """The inner within the outer; smaller at end systole; each near its neighbours in the stack."""
    for contours in real_contours.values():
        (ed,) = {contour.frame for contour in contours if contour.kind == "epicardium"}
        (es,) = {contour.frame for contour in contours} - {ed}
        mask_of = {(c.kind, c.frame, c.slice): fill_contour(c.points, (256, 256)) for c in contours}
        inner = {z: mask for (kind, frame, z), mask in mask_of.items() if (kind, frame) == ("endocardium", ed)}
        for z, cavity in inner.items():
            outer = mask_of["epicardium", ed, z]
            # At the base, where the outflow tract opens, the two cross.
            assert (cavity & ~outer).sum() <= (0.05 if z == max(inner) else 0) * cavity.sum()
            assert mask_of["endocardium", es, z].sum() <= cavity.sum()  # Equal at an apex that does not move.
            if z + 1 in inner:
                assert (cavity & inner[z + 1]).sum() > 0.7 * min(cavity.sum(), inner[z + 1].sum())
        ejected = 1 - sum(mask_of["endocardium", es, z].sum() for z in inner) / sum(map(np.sum, inner.values()))
        assert 0.15 < ejected < 0.45  # Both have heart failure: the data set's group ejects 0.32 ± 0.12.


@real_data
def test_contours_fit_their_own_slice_and_frame(real, real_contours):
    """On the neighbouring slice, at end systole, transposed or upside down, the contrast is lower."""
    for name, study in real.items():
        cine = read_sunnybrook_cine(REAL, name)
        place = {path: (t, z) for t, row in enumerate(cine.header.files) for z, path in enumerate(row)}
        places = [place[path] for path in study.header.files[0]]
        (ed,) = {t for t, _ in places}
        (es,) = {c.frame for c in real_contours[name]} - {ed}
        labels = study.labels[0]
        own = contrast(study.voxels[0], labels)
        assert own > 1.4
        first, last = places[0][1], places[-1][1]
        slices = slice(first, last + 1)
        assert contrast(cine.voxels[es, slices], labels) < own - 0.2
        shifted = np.roll(cine.voxels[ed], 1, axis=0)[slices]
        assert contrast(shifted[1:], labels[1:]) < contrast(study.voxels[0][1:], labels[1:])
        assert contrast(study.voxels[0], labels.transpose(0, 2, 1)) < own - 0.2
        assert contrast(study.voxels[0], labels[:, ::-1]) < own - 0.2


@real_data
def test_contours_count_pixels_from_one(real, real_contours):
    """Cavity and myocardium come apart better as read than a pixel further to either side."""
    fits = {move: [] for move in (-1, 0, 1)}
    for name, study in real.items():
        files = {contour.path.name[8:12]: {} for contour in real_contours[name]}
        for contour in real_contours[name]:
            files[contour.path.name[8:12]][contour.kind] = contour.points
        pairs = [files[f"{int(path.stem):04d}"] for path in study.header.files[0]]
        # Half of the outline runs through centres of pixels: both ways to settle that, or one side would win.
        for fill in (fill_contour, fill_mirrored):
            labels = np.zeros(study.labels.shape[1:], int)
            for plane, pair in zip(labels, pairs, strict=True):
                plane[fill(pair["epicardium"], plane.shape)] = 1
                plane[fill(pair["endocardium"], plane.shape)] = 2
            if fill is fill_contour:
                np.testing.assert_array_equal(labels, study.labels[0])
            for move, found in fits.items():
                found.append(contrast(study.voxels[0], np.roll(labels, (move, move), (1, 2))))
    means = {move: np.mean(found) for move, found in fits.items()}
    assert means[0] > max(means[-1], means[1]) + 0.1


def fill_mirrored(points, shape):
    """With the outline's right and lower sides in, not its left and upper ones."""
    return fill_contour(np.array([shape[1] - 1, shape[0] - 1]) - points, shape)[::-1, ::-1]


def contrast(images, labels):
    """Fisher's ratio of cavity and myocardium, mean over the slices."""
    ratios = []
    for image, label in zip(images, labels, strict=True):
        cavity, ring = image[label == 2], image[label == 1]
        ratios.append((cavity.mean() - ring.mean()) / np.sqrt(cavity.var() + ring.var()))
    return float(np.mean(ratios))
