"""Every command of the pages for newcomers: run here on a tiny phantom, or one that test_readme.py runs."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments import phantom
from experiments.common import ROWS
from foanet_jax.data.folds import Fold
from foanet_jax.data.phantom.short_axis import short_axis_stack
from foanet_jax.data.phantom.writers import write_dicom
from foanet_jax.settings import with_overrides
from foanet_jax.training.spec import NETWORKS
from tests.saved_runs import save_run

ROOT = Path(__file__).parents[2]
PAGES = ("tutorial", "own-data", "weights", "troubleshooting")
TINY = {
    **{f"{stage}.network.width": 1 / 32 for stage in NETWORKS},
    **{f"{stage}.prepare.spacing_mm": 5.0 for stage in NETWORKS},
    **{f"{stage}.prepare.bucket": 64 for stage in NETWORKS},
}


def blocks(page, kind):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(*pages):
    return [line for page in pages for block in blocks(page, "bash") for line in block.splitlines()]


# The README's first command ends with `run.py` alone; CI runs it.
ELSEWHERE = ["python run.py", *commands("README.md", "docs/formats.md")]
HERE = [line for line in commands(*(f"docs/{page}.md" for page in PAGES)) if line not in ELSEWHERE]


def commanded(lines, folder):
    program = [sys.executable, "-m", "tests.commands"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    given = "\n".join(lines)
    done = subprocess.run(
        program, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a newcomer has it: the program, with a place for weights of its own, a run, and a cine as DICOM."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("run.py", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "foanet_jax").mkdir()
    for path in (ROOT / "foanet_jax").iterdir():
        if path.name not in ("weights", "__pycache__"):
            (folder / "foanet_jax" / path.name).symlink_to(path)
    cine = dataclasses.replace(short_axis_stack(1, size=80, slices=3, frames=3), frame_seconds=0.04)
    write_dicom(cine, folder / "STUDIES" / "eva" / "series3")
    config = with_overrides(phantom.get_config().to_dict(), TINY)
    patients = tuple(f"phantom{number:03d}" for number in range(5))
    save_run(folder / "runs" / "phantom", config, [Fold(patients[:3], patients[3:4], patients[4:])])
    (folder / "runs" / "acdc").symlink_to("phantom")
    return folder


def test_commands_that_this_file_knows():
    ablation = "python run.py --mode ablate --config experiments/phantom.py:quick"
    (row,) = [line for line in HERE if line.startswith(ablation)]
    assert ablation in ELSEWHERE
    assert "&& .venv/bin/python run.py\n" in blocks("README.md", "bash")[0]
    assert set(re.fullmatch(rf"{ablation} --rows=(\S+) --folds=0", row)[1].split(",")) < set(ROWS)
    kinds = [" --mode predict", " --mode predict", " --mode release"]
    assert sorted(re.match(r"python run\.py( --mode \w+)?", line)[1] for line in HERE if line != row) == kinds


def test_from_a_run_to_pages_and_weights(folder, monkeypatch):
    unseen, studies, release = (
        next(line for line in HERE if re.match(rf"python run\.py{start}", line))
        for start in (" --mode predict .*unseen", " --mode predict --input", " --mode release")
    )
    (program,) = blocks("docs/tutorial.md", "python")
    monkeypatch.chdir(folder)
    exec(program, {})
    packaged = release.replace("heart.safetensors", "foanet_jax/weights/short_axis.safetensors")
    lines = [f"{packaged} --licence=MIT", unseen, studies]
    told = commanded([line.removeprefix("python ") for line in lines], folder)
    assert (folder / "OUT" / "unseen" / "unseen.html").exists()
    # From DICOM to the page with the package's own weights, which are said, and times in ms.
    assert "short_axis.safetensors: myocardium, cavity; trained with" in told
    report = json.loads((folder / "OUT" / "studies" / "predictions.json").read_text())
    assert [entry["frame_ms"] for entry in report.values()] == [pytest.approx(40)]
    page = (folder / "OUT" / "studies" / "eva_series3.html").read_text(encoding="utf-8")
    assert "40.0 ms" in page
    assert "short_axis.safetensors (myocardium, cavity; trained with" in page
    assert (folder / "OUT" / "studies" / "index.html").exists()
    times = (folder / "OUT" / "studies" / "eva_series3_volumes.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in times] == [["frame", "time_ms"], ["0", "0.0"], ["1", "40.0"], ["2", "80.0"]]
