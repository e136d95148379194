"""The commands of docs/correct.md run in their order, on small phantoms and with small networks."""

import csv
import json
import subprocess

import nibabel as nib
import numpy as np
import pytest

from experiments import short_axis
from foanet_jax.data.folds import Fold
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.jobs.experiment.release import release
from foanet_jax.settings import with_overrides
from foanet_jax.training.spec import NETWORKS
from tests.docs.test_docs import ROOT, blocks, commanded
from tests.saved_runs import save_run

TINY = {
    **{f"{stage}.network.width": 1 / 32 for stage in NETWORKS},
    **{f"{stage}.network.dtype": "float32" for stage in NETWORKS},
    **{f"{stage}.prepare.spacing_mm": 5.0 for stage in NETWORKS},
    **{f"{stage}.prepare.bucket": 64 for stage in NETWORKS},
}
SHORT = {
    **{f"{stage}.train.epochs": 1 for stage in NETWORKS},
    **{f"{stage}.train.batch_size": 2 for stage in NETWORKS},
    **{f"{stage}.train.examples_per_epoch": 4 for stage in NETWORKS},
}
PATIENTS = ("p1", "p2", "p3")
LEFT = np.array([0, 0, 1, 2], np.uint8)  # from the phantom's classes to those of the small networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a reader has it: the program with small weights in the package, and studies."""
    folder = tmp_path_factory.mktemp("correct")
    for name in ("run.py", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "foanet_jax").mkdir()
    for path in (ROOT / "foanet_jax").iterdir():
        if path.name not in ("weights", "__pycache__"):
            (folder / "foanet_jax" / path.name).symlink_to(path)
    (folder / "foanet_jax" / "weights").mkdir()
    config = with_overrides(short_axis.get_config().to_dict(), TINY)
    run = save_run(folder / "trained", config, [Fold(("a", "b"), ("c",), ("d",))])
    release(run, folder / "foanet_jax" / "weights" / "short_axis.safetensors")
    (folder / "STUDIES").mkdir()
    for number, name in enumerate(PATIENTS):
        stack = short_axis_stack(number, size=64, slices=3)
        path = folder / "STUDIES" / f"{name}.nii.gz"
        write_nifti(stack.voxels, affine=stack.affine, spacing_mm=stack.spacing_mm, path=path)
    return folder


def correct(folder):
    """What the reader does in ITK-SNAP: every mask becomes that of the phantom."""
    for number, name in enumerate(PATIENTS):
        path = folder / "CORRECTED" / f"{name}_seg.nii.gz"
        stored = nib.load(path)
        labels = LEFT[short_axis_stack(number, size=64, slices=3).labels[0]].transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(labels, None, stored.header), path)


def test_the_loop_from_a_prediction_to_a_network_of_the_corrected_masks(folder, monkeypatch, capsys):
    lines = [line for block in blocks("docs/correct.md", "bash") for line in block.splitlines()]
    programs = [line.removeprefix("python ") for line in lines if line.startswith("python ")]
    others = [line for line in lines if not line.startswith("python ")]
    assert [line.split()[0] for line in others] == ["mkdir", "cp"]
    predicted, *rest = programs
    assert [line.split("--mode ")[1].split()[0] for line in programs if "--mode" in line] == [
        "predict",
        "measure",
        "measure",
        "check",
        "predict",
    ]
    commanded([predicted], folder)
    for line in others:
        subprocess.run(line, shell=True, cwd=folder, check=True)
    correct(folder)
    (program,) = blocks("docs/correct.md", "python")
    monkeypatch.chdir(folder)
    exec(program, {})
    assert "'cavity_ml': " in capsys.readouterr().out
    small = [f"--config.{name}={value}" for name, value in {**TINY, **SHORT}.items()]
    told = commanded(
        [" ".join([line, *small]) if " --config " in line and "check" not in line else line for line in rest], folder
    )

    with (folder / "OUT" / "corrected" / "summary.csv").open(newline="") as file:
        rows = {row["study"]: row for row in csv.DictReader(file)}
    for number, name in enumerate(PATIENTS):
        stack = short_axis_stack(number, size=64, slices=3)
        ml = np.count_nonzero(stack.labels == 3) * np.prod(np.float32(stack.spacing_mm), dtype=float) / 1000
        assert float(rows[name]["cavity_ml"]) == pytest.approx(ml, rel=1e-6)
    with (folder / "OUT" / "compared" / "evaluation" / "scores.csv").open(newline="") as file:
        assert {row["case"] for row in csv.DictReader(file)} == set(PATIENTS)
    # The training set needs nothing else, and the training starts from the weights in the package.
    assert json.loads((folder / "runs" / "corrected" / "check" / "check.json").read_text())["errors"] == 0
    for stage in NETWORKS:
        assert f"arrays of the {stage} network\n" in told
    assert "start anew" not in told
    assert {path.name for path in (folder / "OUT" / "again").glob("*_seg.nii.gz")} == {
        f"{p}_seg.nii.gz" for p in PATIENTS
    }
