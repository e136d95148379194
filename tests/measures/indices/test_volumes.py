"""Volumes and mass, worked by hand, and of ACDC's masks against an independent voxel count and its groups."""

import dataclasses
import itertools
import math

import nibabel as nib
import numpy as np
import pytest

from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.measures.indices.short_axis import septum_angle
from foanet_jax.measures.indices.ventricle import VentricleIndices, ventricle
from foanet_jax.system.errors import InputError
from tests.measures.indices.masks import BEATING, SPACING, blocks, measure, ring


class TestVentricle:
    # Voxels of 10 × 10 × 10 mm: 1 ml each. Counts of right ventricle, myocardium, cavity.
    ML = (10.0, 10.0, 10.0)

    def test_by_hand(self):
        indices = ventricle(BEATING, classes=ACDC_CLASSES, spacing_mm=self.ML)
        assert (indices.ed, indices.es) == (0, 2)
        np.testing.assert_array_equal(indices.left.volumes_ml, [80, 50, 32, 70])
        assert indices.columns() == {
            "lv_edv_ml": 80,
            "lv_esv_ml": 32,
            "lv_sv_ml": 48,
            "lv_ef_percent": pytest.approx(60),
            "rv_edv_ml": 40,
            "rv_esv_ml": 20,
            "rv_sv_ml": 20,
            "rv_ef_percent": pytest.approx(50),
            "lv_mass_g": pytest.approx(63),
        }

    def test_given_frames(self):
        indices = ventricle(BEATING, classes=ACDC_CLASSES, spacing_mm=self.ML, ed=3, es=1)
        assert (indices.left.edv_ml, indices.left.esv_ml) == (70, 50)
        assert indices.left.ef_percent == pytest.approx(100 * 20 / 70)
        with pytest.raises(InputError, match="es=4"):
            ventricle(BEATING, classes=ACDC_CLASSES, spacing_mm=self.ML, es=4)

    def test_without_a_right_ventricle(self):
        indices = ventricle(blocks((60, 80), (60, 40)), classes=LV_CLASSES, spacing_mm=self.ML)
        assert indices.left.ef_percent == pytest.approx(50)
        assert math.isnan(indices.right.edv_ml)
        assert indices.flags == ""

    def test_a_frame_without_cavity_is_not_end_systole(self):
        mask = blocks((60, 80), (0, 0), (60, 40))
        indices = ventricle(mask, classes=LV_CLASSES, spacing_mm=self.ML)
        np.testing.assert_array_equal(indices.left.volumes_ml, [80, np.nan, 40])
        assert indices.es == 2
        assert indices.flags == "no LV cavity in 1 of 3 frames; no myocardium in 1 of 3 frames"

    def test_nothing_segmented(self):
        indices = ventricle(np.zeros((2, 2, 4, 4), np.uint8), classes=LV_CLASSES, spacing_mm=self.ML)
        assert (indices.ed, indices.es) == (None, None)
        assert np.isnan(list(indices.columns().values())).all()
        assert indices.flags.startswith("no LV cavity in 2 of 2 frames")

    def test_one_slice_has_no_volume(self):
        with pytest.raises(InputError, match="one slice"):
            ventricle(ring(), classes=LV_CLASSES, spacing_mm=SPACING)


@dataclasses.dataclass(frozen=True)
class Patient:
    """Masks at end diastole and end systole, (2, Z, H, W), with their spacing and indices."""

    mask: np.ndarray
    spacing_mm: tuple[float, float, float]
    indices: VentricleIndices


@pytest.fixture(scope="module")
def acdc(shared_data):
    """Five patients of each of three groups."""
    groups = {}
    for group, first in (("DCM", 1), ("HCM", 21), ("NOR", 61)):
        for number in range(first, first + 5):
            files = sorted((shared_data("acdc") / f"patient{number:03d}").glob("*_gt.nii*"))
            images = [nib.load(file) for file in files]
            spacing = tuple(float(mm) for mm in images[0].header.get_zooms()[::-1])
            mask = np.stack([np.asarray(image.dataobj).T for image in images]).astype(np.uint8)
            indices = ventricle(mask, classes=ACDC_CLASSES, spacing_mm=spacing, ed=0, es=1)
            groups.setdefault(group, []).append(Patient(mask, spacing, indices))
    return groups


class TestAcdc:
    """The data set's own masks."""

    def test_volumes_are_voxel_counts(self, acdc):
        for patient in itertools.chain(*acdc.values()):
            voxel_ml = math.prod(patient.spacing_mm) / 1000
            edv, esv = (np.count_nonzero(frame == 3) * voxel_ml for frame in patient.mask)
            wall, rv = (np.count_nonzero(patient.mask[0] == index) * voxel_ml for index in (2, 1))
            indices = patient.indices
            assert indices.left.edv_ml == pytest.approx(edv, rel=1e-9)
            assert indices.left.esv_ml == pytest.approx(esv, rel=1e-9)
            assert indices.left.ef_percent == pytest.approx(100 * (edv - esv) / edv, rel=1e-9)
            assert indices.mass_g == pytest.approx(1.05 * wall, rel=1e-9)
            assert indices.right.edv_ml == pytest.approx(rv, rel=1e-9)
            assert indices.flags == ""

    def test_groups_are_what_their_names_say(self, acdc):
        ef, edv, mass = (
            {group: np.median([each.indices.columns()[name] for each in of_group]) for group, of_group in acdc.items()}
            for name in ("lv_ef_percent", "lv_edv_ml", "lv_mass_g")
        )
        assert ef["DCM"] < 35 < 50 < ef["NOR"] < 75
        assert ef["HCM"] > 55
        assert edv["DCM"] > 1.5 * edv["NOR"]
        assert mass["HCM"] > 1.2 * mass["NOR"]

    def test_walls_of_middle_slices_are_plausible(self, acdc):
        greatest = {}
        for group, patients in acdc.items():
            for patient in patients:
                middle = patient.mask[:1, [patient.mask.shape[1] // 2]]
                geometry = {"classes": ACDC_CLASSES, "spacing_mm": patient.spacing_mm}
                septum = septum_angle(middle, **geometry)
                indices = measure(middle, septum_degrees=septum, **geometry)
                greatest.setdefault(group, []).append(indices.rwt_mm.max())
        # ACDC's definition of HCM is a wall of more than 15 mm at some place in diastole; a sector's mean is less.
        assert np.median(greatest["HCM"]) > 14
        assert np.median(greatest["NOR"]) < 10
