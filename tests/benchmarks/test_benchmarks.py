"""The benchmarks at the size of a test: their commands run and write what the documentation says."""

import json

import jax
import numpy as np
import pytest

from benchmarks import convolutions, gpu, networks, scaling, study
from benchmarks.agreement import agreement
from benchmarks.arena import ratios
from benchmarks.cases import NETWORK_CASES, Case
from benchmarks.flops import forward_flops, step_flops
from benchmarks.report import markdown_table, seconds_text
from foanet_jax.network import NetworkSpec, init_network


def test_networks(tmp_path, capsys):
    arguments = ["--tiny", "--rounds", "2", "--turn", "0", "--cases", "forward-net2-256"]
    arguments += ["--rivals", "keras", "--keras-python", str(tmp_path / "python")]
    assert networks.main([*arguments, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "networks.json").read_text())
    (case,) = record["cases"]
    (ours,) = case["contestants"]
    assert case["case"]["size"] == 32
    assert ours["name"] == "ours"
    assert ours["ratio"] == 1
    assert len(ours["seconds"]) == 2
    assert ours["agreement"]["agrees"]
    assert set(ours["agreement"]["differences"]) == {"probabilities"}
    assert case["product"]["flops_per_second"] > 0
    assert ours["share_of_product"] == pytest.approx(
        case["flops"] / ours["median_seconds"] / case["product"]["flops_per_second"]
    )
    assert list(case["left_out"]) == ["keras"]
    assert {"processor", "cores", "commit"} <= set(record["machine"])
    assert "FOANet in JAX" in (tmp_path / "networks.md").read_text()
    assert (tmp_path / "networks.png").stat().st_size > 0
    assert "forward-net2-256" in capsys.readouterr().out


def test_convolutions(tmp_path):
    assert convolutions.main(["--tiny", "--out", str(tmp_path)]) == 0
    first, second = json.loads((tmp_path / "convolutions.json").read_text())["layers"]
    assert (first["side"], first["inputs"], second["inputs"]) == (16, 3, 2)
    for job in ("forward", "images", "kernel"):
        assert first[job]["difference"] < 1e-5
        assert first[job]["ratio"] > 0


def test_scaling(tmp_path):
    assert scaling.main(["--tiny", "--axes", "devices", "--rounds", "1", "--turn", "0", "--out", str(tmp_path)]) == 0
    points = json.loads((tmp_path / "scaling.json").read_text())["axes"]["devices"]
    assert [point["value"] for point in points] == [1, 2]
    for point in points:
        assert point["seconds_per_unit"] == point["median_seconds"] > 0
        assert point["memory"]["peak_mib"] > 0
    assert (tmp_path / "scaling.png").stat().st_size > 0


def test_study(tmp_path):
    assert study.main(["--tiny", "--rounds", "1", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "study.json").read_text())
    found = record["studies"]["tiny"]
    assert set(found["parts"]) == {"read", "segment", "write"}
    assert sum(found["parts"].values()) == pytest.approx(found["median_seconds"])
    assert record["start"]["median_seconds"] > 0


def test_gpu(tmp_path):
    arguments = ["--tiny", "--rivals", "--rounds", "1", "--turn", "0"]
    assert gpu.main([*arguments, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    (case,) = record["cases"]
    assert case["case"]["dtype"] == "bfloat16"
    assert case["contestants"][0]["share_of_h200"] is None
    assert record["whole_heart"][0]["shape"] == [8, 32, 32]


@pytest.mark.parametrize("architecture", ["net1", "net2"])
def test_the_parameters_counted_are_the_networks(architecture):
    # A 3×3 convolution costs 18 operations a weight and pixel, a 1×1 convolution 2, on the grid of its stage.
    case = Case("c", "forward", architecture, 64, batch=2, classes=5, width=1 / 4)
    shapes = jax.eval_shape(
        lambda: init_network(jax.random.key(0), NetworkSpec(architecture, 5, width=1 / 4))["params"]
    )
    pixels, expected = 2 * 64 * 64, 0
    for layer, group in shapes.items():
        weights = np.prod(group["kernel"].shape)
        stage = int(layer[5]) - 1 if layer.startswith("block") else 0
        expected += 2 * weights * pixels // 4**stage
        if layer.startswith("side") and layer != "side1":
            expected += 8 * group["kernel"].shape[2] * pixels
    assert forward_flops(case) == expected


def test_a_training_step_counts_thrice():
    train = next(case for case in NETWORK_CASES if case.kind == "train")
    assert step_flops(train) == 3 * forward_flops(train)


def test_ratios_are_of_the_same_round():
    assert ratios([2.0, 6.0, 3.0], [1.0, 2.0, 3.0]) == (2.0, 1.0, 3.0)


def test_who_disagrees_is_told():
    reference = {"loss": np.float32(2), "logits": np.array([1.0, -4.0])}
    near = agreement({"loss": np.float32(2.0001), "other": np.ones(3)}, reference, device="cpu", dtype="float32")
    far = agreement({"logits": np.array([1.0, -4.001])}, reference, device="cpu", dtype="float32")
    assert near["agrees"]
    assert set(near["differences"]) == {"loss"}
    assert not far["agrees"]
    assert far["differences"]["logits"] == pytest.approx(0.00025)


def test_how_times_and_tables_are_written():
    assert [seconds_text(s) for s in (0.0001234, 0.01234, 1.234, 123.4)] == ["123 µs", "12.3 ms", "1.23 s", "123 s"]
    table = markdown_table(("a", "b"), [["x", "10"]])
    assert table.splitlines() == ["| a |  b |", "|---|---:|", "| x | 10 |"]
