"""LVQuan19's files, as MATLAB and scipy write them."""

import dataclasses

import numpy as np
import pytest
import scipy.io

from foanet_jax.data.phantom.short_axis import short_axis_study
from foanet_jax.data.phantom.writers import write_lvquan19
from foanet_jax.data.readers.lvquan19 import index_units, indices_in_mm, list_lvquan19, read_indices, read_lvquan19
from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.system.errors import InputError


def arrays(scale=1):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 1000, (8, 6, 20)).astype(np.uint16)
    epi = np.zeros(image.shape, np.uint8)
    epi[1:7, 1:5] = scale
    endo = np.zeros(image.shape, np.uint8)
    endo[2:5, 2:4] = scale
    return {
        "image": image,
        "endo": endo,
        "epi": epi,
        "pix_spacing": 1.25,
        "areas": rng.random((2, 20)),
        "dims": rng.random((3, 20)),
        "rwt": rng.random((6, 20)),
        "lv_phase": rng.integers(0, 2, (1, 20)),
    }


def written(tmp_path, name="patient1.mat", **changes):
    content = arrays() | changes
    path = tmp_path / name
    scipy.io.savemat(path, {key: value for key, value in content.items() if value is not None})
    return path


@pytest.mark.parametrize("scale", [1, 255])
def test_study(tmp_path, scale):
    content = arrays(scale)
    scipy.io.savemat(tmp_path / "patient7.mat", content)
    (ref,) = list_lvquan19(tmp_path)
    assert (ref.patient, ref.case, ref.group) == ("patient7", "patient7", None)
    study = ref.load()
    assert study.voxels.shape == (20, 1, 8, 6)
    assert study.voxels.dtype == np.float32
    assert study.classes == LV_CLASSES
    np.testing.assert_array_equal(study.voxels[3, 0], content["image"][:, :, 3])
    np.testing.assert_array_equal(study.labels[3, 0] == 2, content["endo"][:, :, 3] > 0)
    np.testing.assert_array_equal(study.labels[3, 0] > 0, content["epi"][:, :, 3] > 0)
    assert study.labels.dtype == np.uint8
    assert study.spacing_mm == (1, 1.25, 1.25)
    assert study.source == tmp_path / "patient7.mat"
    assert study.is_cine


def test_cavity_wins_outside_the_epicardium(tmp_path):
    path = written(tmp_path, epi=np.zeros((8, 6, 20)))
    assert set(np.unique(read_lvquan19(path, case="c").labels)) == {0, 2}


def test_order_and_other_files(tmp_path):
    for number in (10, 2, 1):
        written(tmp_path, f"patient{number}.mat")
    for other in ("._patient3.mat", "notes.mat", "patient4.txt"):
        (tmp_path / other).write_text("")
    assert [ref.case for ref in list_lvquan19(tmp_path)] == ["patient1", "patient2", "patient10"]


def test_names_that_differ(tmp_path):
    content = arrays()
    path = tmp_path / "patient1.mat"
    aliases = {"Image": "image", "endo_mask": "endo", "Epi": "epi", "pixel_spacing": "pix_spacing", "phase": "lv_phase"}
    scipy.io.savemat(path, {alias: content[own] for alias, own in aliases.items()})
    np.testing.assert_array_equal(read_lvquan19(path, case="c").voxels[0, 0], content["image"][:, :, 0])
    assert set(read_indices(path)) == {"lv_phase"}
    scipy.io.savemat(path, {**content, "images": content["image"]})
    with pytest.raises(InputError, match="image, images"):
        read_lvquan19(path, case="c")


def test_spacing_of_rows_and_columns(tmp_path):
    study = read_lvquan19(written(tmp_path, pix_spacing=[1.25, 1.5]), case="c")
    assert study.spacing_mm == (1, 1.25, 1.5)
    np.testing.assert_array_equal(study.affine, np.diag([1.5, 1.25, 1, 1]))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"image": None}, "missing-array"),
        ({"pix_spacing": None}, "missing-array"),
        ({"endo": None}, "missing-array"),
        ({"endo": np.zeros((8, 6, 19))}, "shape-mismatch"),
        ({"epi": np.full((8, 6, 20), np.nan)}, "unknown-label"),
        ({"epi": np.full((8, 6, 20), -1)}, "unknown-label"),
        ({"image": np.full((8, 6, 20), np.nan)}, "non-finite"),
        ({"image": np.full((8, 6, 20), 1e300)}, "non-finite"),
        ({"image": np.zeros((8, 6, 20, 2))}, "shape"),
        ({"image": np.zeros((0, 6, 20))}, "shape"),
        ({"pix_spacing": 0}, "spacing"),
        ({"pix_spacing": np.nan}, "spacing"),
        ({"pix_spacing": [1, 1, 1]}, "spacing"),
    ],
)
def test_files_that_are_refused(tmp_path, changes, code):
    path = written(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_lvquan19(path, case="c")
    assert caught.value.code == code
    assert str(path) in str(caught.value)


def test_without_labels(tmp_path):
    path = written(tmp_path, endo=None, epi=None)
    assert read_lvquan19(path, case="c", require_labels=False).labels is None
    with pytest.raises(InputError, match="endo, epi"):
        read_lvquan19(path, case="c")
    # Half of the labels is a mistake either way.
    with pytest.raises(InputError, match="no epi "):
        read_lvquan19(written(tmp_path, epi=None), case="c", require_labels=False)


def test_indices(tmp_path):
    content = arrays()
    indices = read_indices(written(tmp_path, areas=content["areas"].T, dims=None))
    assert set(indices) == {"areas", "rwt", "lv_phase"}
    np.testing.assert_array_equal(indices["areas"], content["areas"])
    np.testing.assert_array_equal(indices["rwt"], content["rwt"])
    np.testing.assert_array_equal(indices["lv_phase"], content["lv_phase"][0])
    for changes in ({"rwt": np.zeros((5, 20))}, {"areas": np.full((2, 20), np.nan)}, {"lv_phase": np.zeros((2, 20))}):
        with pytest.raises(InputError, match=next(iter(changes))):
            read_indices(written(tmp_path, **changes))


def rings(spacing_mm=(8.0, 1.25, 1.25)):
    """A round heart of known size, 20 frames in which it shrinks, and its indices in mm."""
    rows, columns = np.mgrid[:96, :128]
    radius_mm = np.hypot(rows - 47.3, columns - 60.1) * spacing_mm[1]
    inner = 20 + 6 * np.cos(np.arange(20) / 20 * 2 * np.pi)
    labels = np.stack([np.select([radius_mm < r, radius_mm < r + 9], [2, 1], 0) for r in inner])[:, None]
    study = Study("p", "p", labels.astype(np.float32), spacing_mm, LV_CLASSES, labels.astype(np.uint8))
    areas = np.stack([np.pi * inner**2, np.pi * ((inner + 9) ** 2 - inner**2)])
    return study, {"areas": areas, "dims": np.tile(2 * inner, (3, 1)), "rwt": np.full((6, 20), 9.0)}


@pytest.mark.parametrize(
    ("unit", "size_mm"), [("mm", 1.0), ("cm", 10.0), ("px", 1.25), ("image", 1.25 * np.sqrt(96 * 128))]
)
def test_units_are_found_from_the_masks(unit, size_mm):
    study, in_mm = rings()
    phase = np.zeros(20)
    given = {name: values / size_mm ** (2 if name == "areas" else 1) for name, values in in_mm.items()}
    given["lv_phase"] = phase
    assert list(index_units(given, study).items()) == [("areas", unit), ("dims", unit), ("rwt", unit)]
    converted = indices_in_mm(given, study)
    for name, values in in_mm.items():
        np.testing.assert_allclose(converted[name], values)
    assert converted["lv_phase"] is phase


def test_indices_that_do_not_fit_the_masks_are_refused():
    study, in_mm = rings()
    with pytest.raises(InputError, match=r"areas fits no known unit.* [23]\.?\d* in mm") as caught:
        index_units({"areas": 3 * in_mm["areas"]}, study)
    assert caught.value.code == "index-unit"
    with pytest.raises(InputError, match="areas has 19 frames, but the image has 20"):
        index_units({"areas": in_mm["areas"][:, 1:]}, study)
    # Pixels of 1.25 mm are too close to millimetres for diameters to tell.
    with pytest.raises(InputError, match="dims fits mm or px"):
        index_units({"dims": 0.9 * in_mm["dims"]}, study)
    assert index_units({"areas": in_mm["areas"], "dims": 0.9 * in_mm["dims"]}, study)["dims"] == "mm"
    assert index_units({"dims": in_mm["dims"] / 10}, study) == {"dims": "cm"}
    empty = dataclasses.replace(study, labels=np.zeros_like(study.labels))
    with pytest.raises(InputError, match="the masks are empty"):
        index_units(in_mm, empty)
    with pytest.raises(InputError, match="has no masks"):
        index_units(in_mm, dataclasses.replace(study, labels=None))


def test_the_phantoms_areas_are_in_mm(tmp_path):
    study = short_axis_study(1, size=64, frames=4)
    path = write_lvquan19(study, tmp_path, 1)
    assert index_units(read_indices(path), read_lvquan19(path, case="p")) == {"areas": "mm"}
