"""The calibration of a weights file: pairs and table by hand, and the command on a patient of ACDC."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks import calibration
from foanet_jax.measures.quality.calibration import Point
from foanet_jax.training.weights import default_weights, read_weights


def test_a_patient_is_judged_by_the_others():
    others = [("b", Point(sure, sure, {"cavity": (sure, sure / 2)})) for sure in (0.5, 0.6, 0.7, 0.8, 0.9)]
    own = [("a", Point(0.65, 0.4, {"cavity": (0.85, 0.3)})), ("a", Point(0.45, 0.2))]
    pairs = calibration.left_out([*own, *others])
    # Between 0.6 and 0.7 on the line through the others' points; below all of them it is unknown, which counts as 0.
    np.testing.assert_allclose(pairs["foreground"][:2], [(0.65, 0.4), (0.0, 0.2)])
    np.testing.assert_allclose(pairs["cavity"][0], (0.425, 0.3))


def test_the_table_by_hand():
    rows = calibration.table({"foreground": [(0.1, 0.3), (0.4, 0.2), (0.95, 0.9)], "cavity": [(0.8, 0.7)]})
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()]
    assert cells[2] == ["foreground", "0 to 0.5", "2", "0.250", "0.200"]
    assert cells[3] == ["foreground", "0.9 to 1", "1", "0.900", "0.050"]
    assert cells[4] == ["foreground", "all", "3", "0.467", "0.150"]
    assert cells[5] == ["cavity", "0.8 to 0.85", "1", "0.700", "0.100"]


def test_the_command_changes_the_calibration_alone(shared_data, tmp_path):
    output = tmp_path / "again.safetensors"
    given = ["--data", str(shared_data("acdc")), "--output", str(output), "--patients", "1", "--copies", "2"]
    assert calibration.main(given) == 0
    (new,), (old,) = read_weights(output).members, read_weights(default_weights()).members
    assert new.calibration.studies == 6 != old.calibration.studies
    assert new.calibration.classes.keys() == {"right ventricle", "myocardium", "cavity"}
    arrays, before = load_file(output), load_file(default_weights())
    assert arrays.keys() == before.keys()
    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)
    assert len(json.loads(output.with_suffix(".json").read_text())["points"]) == 6
    assert output.with_suffix(".png").stat().st_size > 0


def test_another_data_set_is_refused(shared_data, tmp_path, capsys):
    folder = tmp_path / "acdc"
    folder.mkdir()
    for patient in range(1, 4):
        (folder / f"patient{patient:03d}").symlink_to(shared_data("acdc") / f"patient{patient:03d}")
    assert calibration.main(["--data", str(folder), "--output", str(tmp_path / "x.safetensors")]) == 2
    assert "other patients" in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("name", ["missing"])
def test_a_missing_file_is_refused(tmp_path, capsys, name):
    given = ["--checkpoint", str(tmp_path / name), "--data", str(tmp_path), "--output", str(tmp_path / "x.safetensors")]
    assert calibration.main(given) == 2
    assert "no such file" in capsys.readouterr().err
