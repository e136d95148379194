"""Every command and program of the README and of the pages in docs/ runs as printed, on tiny data for the real."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import nibabel
import numpy as np
import pytest

from experiments.common import ROWS
from foanet_jax.data.nifti import write_nifti
from foanet_jax.data.short_axis_phantom import short_axis_stack, short_axis_study
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.data.whole_heart_phantom import whole_heart_study
from foanet_jax.data.writers import (
    write_acdc,
    write_dicom,
    write_folder,
    write_lvquan19,
    write_mmwhs2017,
    write_sunnybrook,
)
from foanet_jax.sweep.plan import plan_ablation

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
PATIENTS = range(1, 7)


def blocks(text, kind):
    """The contents of a page's code blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text):
    """The lines of a page that run the program."""
    return [line for block in blocks(text, "bash") for line in block.splitlines() if "run.py" in line]


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
    for number in PATIENTS:
        study = short_axis_stack(number, size=80, slices=3)
        ed_es = [rename(study, f"patient{number:03d}", frame) for frame in (1, 8)]
        write_acdc(ed_es, folder / "DATA" / "acdc")
        write_lvquan19(short_axis_study(number, size=96, frames=3), folder / "DATA" / "lvquan19", number)
    (folder / "STUDIES").mkdir()
    for place in (folder / "STUDIES" / "one.nii.gz", folder / "study.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(study.voxels[0].transpose(2, 1, 0), np.diag([1.4, 1.4, 9.0, 1.0])), place)
    return folder


@pytest.fixture(scope="module")
def other_data(folder):
    """What docs/formats.md names besides."""
    data = folder / "DATA"
    cines = [short_axis_stack(number, size=80, slices=3, frames=2) for number in PATIENTS]
    write_folder(cines, data / "mine")
    nnunet = data / "Dataset027_Heart"
    for number, cine in zip(PATIENTS, cines, strict=True):
        write_mmwhs2017(whole_heart_study(number, shape=(8, 48, 48)), data / "mmwhs2017", 1000 + number)
        labels = np.array([0, 0, 1, 2], np.uint8)[cine.labels]
        left = dataclasses.replace(cine, labels=labels, classes=LV_CLASSES)
        write_sunnybrook(left, data / "sunnybrook", patient=f"SCD000010{number}", original=f"SC-N-{number}")
        for place, array in (("imagesTr", cine.voxels), ("labelsTr", cine.labels)):
            path = nnunet / place / f"p{number}{'_0000' if place == 'imagesTr' else ''}.nii.gz"
            write_nifti(array[:1], affine=cine.affine, spacing_mm=cine.spacing_mm, path=path)
    description = {
        "channel_names": {"0": "cineMRI"},
        "labels": {name: index for index, name in enumerate(ACDC_CLASSES)},
        "numTraining": len(PATIENTS),
        "file_ending": ".nii.gz",
    }
    (nnunet / "dataset.json").write_text(json.dumps(description))
    write_dicom(cines[0], folder / "SCANS" / "eva" / "series3")


def rename(study, patient, frame):
    return dataclasses.replace(study, patient=patient, case=f"{patient}_frame{frame:02d}")


def call(arguments, folder):
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def run_all(lines, folder, small):
    """Runs commands, two at a time, those of one run after each other: trainings before predictions."""
    chains = {}
    for line in sorted(lines, key=lambda line: "predict" in line or "report" in line):
        match = re.search(r"runs/([a-z0-9]+)", line) or re.search(r"experiments/(phantom).py:quick", line)
        chains.setdefault(match[1] if match else line, []).append(shlex.split(line))

    def run_chain(chain):
        for words in chain:
            options = [] if {"predict", "check", "report"} & set(words) else small
            if "ablate" in words:
                options = [*small, "--rows=i", "--folds=0"]
            elif "cv" in words:
                options = [*small, "--folds=0"]
            elif "--resume" in words:
                options = [*small, "--config.segmentation.train.epochs=2", "--config.localization.train.epochs=2"]
            call([sys.executable, *words[1:], *options], folder)

    with ThreadPoolExecutor(2) as workers:
        # As a list, so that what failed is raised here.
        list(workers.map(run_chain, chains.values()))


def test_the_readme_has_the_commands_that_this_file_knows():
    setup = [command for command in commands(README) if command.startswith("python3 -m venv")]
    assert len(setup) == 1  # run by CI, as is the other, which does not name run.py
    assert len(commands(README)) == 10
    assert len(blocks(README, "python")) == 1
    assert len(commands(FORMATS)) == 2 * 6 + 5


def test_every_command_runs(folder):
    run_all([line for line in commands(README) if line.startswith("python ")], folder, SMALL)
    assert (folder / "OUT" / "one.nii.gz").exists()
    assert (folder / "runs" / "acdc-again" / "evaluation" / "table.md").exists()
    assert (folder / "runs" / "no-foa-no-ssim" / "evaluation" / "table.md").exists()
    assert (folder / "runs" / "acdc" / "check" / "check.png").exists()
    for program in blocks(README, "python"):
        call([sys.executable, "-c", program], folder)
    shutil.rmtree(folder / "runs")
    shutil.rmtree(folder / "OUT")


@pytest.mark.usefixtures("other_data")
def test_every_command_of_the_formats_runs(folder):
    segmentation_alone = [*SMALL, "--config.localization.enabled=False", "--config.evaluation.overlays=1"]
    run_all(commands(FORMATS), folder, segmentation_alone)
    for name in ("acdc", "lvquan19", "mmwhs2017", "sunnybrook", "mine", "nnunet"):
        assert json.loads((folder / "runs" / name / "check" / "check.json").read_text())["errors"] == 0
        assert (folder / "runs" / name / "evaluation" / "table.md").exists()
    masks = {
        name: sorted(path.name for path in (folder / "OUT" / name).glob("*.nii.gz"))
        for name in ("acdc", "lvquan19", "mmwhs2017", "mine", "scans")
    }
    assert masks == {
        "acdc": ["patient001_frame01.nii.gz", "patient001_frame08.nii.gz"],
        "lvquan19": [f"patient{number}.nii.gz" for number in PATIENTS],
        "mmwhs2017": [f"mr_train_{1000 + number}_image.nii.gz" for number in PATIENTS],
        "mine": [f"phantom{number:03d}.nii.gz" for number in PATIENTS],
        "scans": ["SCANS.nii.gz"],
    }
    shapes = {name: nibabel.load(folder / "OUT" / name / files[0]).shape for name, files in masks.items()}
    assert shapes["lvquan19"] == (96, 96, 1, 3)
    assert shapes["mine"] == shapes["scans"] == (80, 80, 3, 2)
    # Nothing may have been found in the phantom by a network of one epoch: then there are no segmentations.
    (voxels,) = [entry["voxels"] for entry in json.loads((folder / "OUT/scans/predictions.json").read_text()).values()]
    found = sum(count for name, count in voxels.items() if name != "background") > 0
    assert found == any((folder / "OUT" / "scans" / "SCANS_seg").glob("*.dcm"))
    shutil.rmtree(folder / "runs")


@pytest.mark.usefixtures("other_data")
def test_every_command_of_the_experiments_runs(folder):
    """Each on one row and one fold, then the report; of the script of a cluster only which run each task does."""
    lines = [*re.findall(r"`(python run\.py [^`]*)`", EXPERIMENTS), *commands(EXPERIMENTS)]
    lines = [line for line in lines if line.startswith("python run.py --mode") and "--workdir runs/table1" not in line]
    assert len(lines) == 6
    small = [*SMALL, "--config.data.patients=5", "--config.data.phantom.frames=2", "--config.data.phantom.size=96"]
    run_all(lines, folder, small)
    ablations = (f"{name}-ablate/rows/i" for name in ("lvquan19", "mmwhs2017", "phantom-quick", "phantom_whole_heart"))
    for place in (*ablations, "acdc-cv/rows/acdc"):
        assert (folder / "runs" / place / "fold0" / "done.json").exists(), place
    assert "BLP+FOA+CSD" in (folder / "runs" / "phantom-quick-ablate" / "report" / "report.html").read_text()
    shutil.rmtree(folder / "runs")


def test_the_tasks_of_the_clusters_script_are_all_rows_on_all_folds():
    (script,) = [block for block in blocks(EXPERIMENTS, "bash") if "SLURM_ARRAY_TASK_ID" in block]
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())
    shell = f'python() {{ echo "${{@: -2}}"; }}\nfor SLURM_ARRAY_TASK_ID in {{{first}..{last}}}; do\n{script}\ndone\n'
    said = subprocess.run(["bash", "-euc", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(said) == sorted(f"--rows={row} --folds={fold}" for row in ROWS for fold in range(5))


def test_the_experiment_with_rows_of_its_own():
    (program,) = blocks(EXPERIMENTS, "python")
    found: dict = {}
    exec(program, found)
    assert list(plan_ablation(found["get_config"]().to_dict()).rows) == ["narrow", "i"]
    assert found["get_config"]("narrow").segmentation.network.width == 0.5


@pytest.mark.parametrize(
    "page", ["README.md", "docs/experiments.md", "docs/formats.md", "docs/performance.md", "docs/survival.md"]
)
def test_what_a_page_links_to_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = target.partition("#")
        assert not path or (ROOT / page).parent.joinpath(path).exists(), target
        assert not heading or path or heading in headings, target


def test_the_files_that_the_map_of_the_paper_names_are_there():
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)", text))
    assert len(named) > 20
    missing = {name for name in named if not any((ROOT / top / name).exists() for top in ("", "foanet_jax", "tests"))}
    assert not missing
