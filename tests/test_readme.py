"""Every command and program of the README runs as printed, on tiny data in place of the real."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from foanet_jax.data.short_axis_phantom import short_axis_stack, short_axis_study
from foanet_jax.data.writers import write_acdc, write_lvquan19

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines() if "run.py" in line]
PROGRAMS = [text for kind, text in BLOCKS if kind == "python"]
SMALL = [
    f"--config.{stage}.{option}"
    for stage in ("localization", "segmentation")
    for option in (
        "network.width=0.03125",
        "prepare.spacing_mm=5.0",
        "prepare.bucket=64",
        "train.epochs=1",
        "train.batch_size=2",
        "train.examples_per_epoch=4",
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README's reader would have it: the program, and data under DATA and STUDIES."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("run.py", "experiments", "foanet_jax"):
        (folder / name).symlink_to(ROOT / name)
    for number in range(1, 7):
        study = short_axis_stack(number, size=80, slices=3)
        ed_es = [rename(study, f"patient{number:03d}", frame) for frame in (1, 8)]
        write_acdc(ed_es, folder / "DATA" / "acdc")
        write_lvquan19(short_axis_study(number, size=96, frames=3), folder / "DATA" / "lvquan19", number)
    (folder / "STUDIES").mkdir()
    for place in (folder / "STUDIES" / "one.nii.gz", folder / "study.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(study.voxels[0].transpose(2, 1, 0), np.diag([1.4, 1.4, 9.0, 1.0])), place)
    return folder


def rename(study, patient, frame):
    return dataclasses.replace(study, patient=patient, case=f"{patient}_frame{frame:02d}")


def call(arguments, folder):
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax")}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_the_readme_has_the_commands_that_this_file_knows():
    setup = [command for command in COMMANDS if command.startswith("python3 -m venv")]
    assert len(setup) == 1  # run by CI, as is the other, which does not name run.py
    assert len(COMMANDS) == 7
    assert len(PROGRAMS) == 1


def test_every_command_runs(folder):
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] != "python":
            continue
        small = [] if "predict" in words else SMALL
        if "--resume" in words:
            small = [*small, "--config.segmentation.train.epochs=2", "--config.localization.train.epochs=2"]
        call([sys.executable, *words[1:], *small], folder)
    assert (folder / "OUT" / "one.nii.gz").exists()
    assert (folder / "runs" / "acdc-again" / "evaluation" / "table.md").exists()
    assert (folder / "runs" / "no-foa-no-ssim" / "evaluation" / "table.md").exists()
    for program in PROGRAMS:
        call([sys.executable, "-c", program], folder)
    shutil.rmtree(folder / "runs")


def test_what_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
