"""The rule of the SCMR against experts: the counts by hand, and on one patient of ACDC."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.basal import compare, main, tables
from foanet_jax.data.study import ACDC_CLASSES, Study
from foanet_jax.measures.indices.counting import ISLAND, OPEN
from foanet_jax.system.errors import InputError
from tests.measures.indices.test_counting import APEX, CAVITY, CLOSED, HALF_OPEN, NOTHING, stack

ACDC = Path(__file__).parents[3] / "shared" / "data" / "acdc"


def study(*planes):
    labels = stack(*planes)
    return Study("p", "p", labels.astype(np.float32), (8.0, 1.0, 1.0), ACDC_CLASSES, labels)


def test_what_is_left_out_and_what_the_expert_drew():
    drawn = stack(HALF_OPEN, CLOSED, CLOSED, CLOSED, APEX, NOTHING, APEX)
    outcome = compare(study(CLOSED, CLOSED, CLOSED, CLOSED, APEX, NOTHING, NOTHING), drawn)
    assert outcome.drawn == 6
    assert outcome.left_out == (("left ventricle", OPEN, True), ("left ventricle", ISLAND, False))
    cavity, island = (float((plane == CAVITY).sum()) * 8 / 1000 for plane in (CLOSED, APEX))
    assert outcome.errors_ml["cavity"] == pytest.approx((island, -cavity))
    text = tables([outcome])
    assert "1 masks with 6 slices of the left ventricle; 1 of them are changed." in text
    (row,) = [line for line in text.splitlines() if OPEN in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["left ventricle", OPEN, "1", "1"]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match="mask"):
        compare(study(CLOSED, APEX), stack(CLOSED))


def test_the_experts_of_acdc_draw_nothing_that_is_left_out(tmp_path, capsys):
    folder = ACDC / "patient029"
    if not folder.is_dir():
        pytest.skip("needs ACDC's patient029 in shared/data/acdc")
    assert main(["--data", str(folder), "--out", str(tmp_path)]) == 0
    assert "; 0 of them are changed." in (tmp_path / "basal.md").read_text()
    assert main(["--data", str(folder), "--masks", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "predict it first" in capsys.readouterr().err
