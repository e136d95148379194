"""Every command and program of the README and of pages in docs/ runs as printed, on tiny data for the real.

Of the sweeps behind docs/accuracy.md the settings alone are tried.
"""

import ast
import dataclasses
import importlib
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks import heldout
from experiments.common import ROWS
from foanet_jax.data.catalogue import read_input
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.phantom.whole_heart import whole_heart_study
from foanet_jax.data.phantom.writers import (
    write_acdc,
    write_dicom,
    write_folder,
    write_lvquan19,
    write_mmwhs2017,
    write_sunnybrook,
)
from foanet_jax.data.study import ACDC_CLASSES, LV_CLASSES
from foanet_jax.jobs.experiment.options import require_settings
from foanet_jax.jobs.sweep.plan import Job, plan_ablation
from foanet_jax.settings import with_overrides
from tests import programs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
ACCURACY = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
EXPORT = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
PATIENTS = range(1, 6)
SIZE = 72


def blocks(text, kind):
    """The contents of a page's code blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text):
    """The lines of a page that run the program."""
    return [line for block in blocks(text, "bash") for line in block.splitlines() if "run.py" in line]


ENOUGH = [
    *(
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
    ),
    "--config.evaluation.overlays=1",
]
# Of the page on accuracy, whose kind of command docs/experiments.md has as well.
SWEEPS = [line for line in commands(ACCURACY) if "--mode cv" in line or "--mode ablate" in line]
# Only runs/acdc has both networks, with which the pages do all that can be done: for the others one is enough, and for
# other pages than the README the one with fewer layers.
ONE_NETWORK = ["--config.localization.enabled=False"]
FEWER_LAYERS = ["--config.segmentation.network.architecture=net1"]
ONE_RUN = {"ablate": ["--rows=i", "--folds=0"], "cv": ["--folds=0"]}
PHANTOM = ["--config.data.patients=5", "--config.data.phantom.frames=2", "--config.data.phantom.size=96"]
PHANTOM += ["--config.data.phantom.shape=(8,48,48)"]


def whole_experiments():
    """The commands of docs/experiments.md but for the cluster's, which is a program of the shell."""
    lines = [*re.findall(r"`(python run\.py [^`]*)`", EXPERIMENTS), *commands(EXPERIMENTS)]
    return [line for line in lines if line.startswith("python run.py --mode") and "--workdir runs/table1" not in line]


def smaller(line):
    """A command's words with what makes it small: row and data set stay as printed."""
    words = shlex.split(line, comments=True)[1:]
    mode = words[words.index("--mode") + 1] if "--mode" in words else "run"
    if words[0] != "run.py" or mode in ("predict", "check", "report", "export", "release"):
        return words
    options = [*ENOUGH, *ONE_RUN.get(mode, [])]
    if "runs/acdc" not in words:
        # Held-out folds are compared with the README's cross-validation.
        whole = line in commands(README) or "runs/acdc-groups" in words
        options += ONE_NETWORK if whole else [*ONE_NETWORK, *FEWER_LAYERS]
    if any("experiments/phantom" in word for word in words):
        options += PHANTOM
    return [*words, *options]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README's reader would have it: the program, and data under DATA, STUDIES and SCANS."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("run.py", "experiments", "foanet_jax"):
        (folder / name).symlink_to(ROOT / name)
    data = folder / "DATA"
    cines = [short_axis_stack(number, size=SIZE, slices=3, frames=2) for number in PATIENTS]
    write_folder(cines, data / "mine")
    nnunet = data / "Dataset027_Heart"
    for number, cine in zip(PATIENTS, cines, strict=True):
        write_acdc([one_frame(cine, f"patient{number:03d}", frame) for frame in range(2)], data / "acdc")
        write_lvquan19(short_axis_study(number, size=96, frames=3), data / "lvquan19", number)
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
    (folder / "STUDIES").mkdir()
    for place in (folder / "STUDIES" / "one.nii.gz", folder / "study.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(cines[-1].voxels[0].transpose(2, 1, 0), np.diag([1.4, 1.4, 9.0, 1.0])), place)
    return folder


def one_frame(cine, patient, frame):
    """A frame of a cine as a study of its own, as ACDC has them."""
    place = slice(frame, frame + 1)
    return dataclasses.replace(
        cine,
        patient=patient,
        case=f"{patient}_frame{frame + 1:02d}",
        voxels=cine.voxels[place],
        labels=cine.labels[place],
    )


@pytest.fixture(scope="module")
def ran(folder):
    """The folder after every command of the pages has run in it, once, and the README's program in Python.

    Two at a time, but those of one run in the order of the pages.
    """
    (program,) = blocks(README, "python")
    (folder / "program.py").write_text(program)
    lines = [line for line in commands(README) if line.startswith("python ")]
    lines += [*commands(FORMATS), *whole_experiments(), "python program.py  # with runs/acdc"]
    lines += [line for line in commands(ACCURACY) if line not in SWEEPS]
    chains = {}
    for number, line in enumerate(dict.fromkeys(lines)):
        match = re.search(r"runs/([\w-]+)", line)
        chain = "quick" if "quick" in line else match[1] if match else line
        chains.setdefault(chain, []).append((number, line))

    def run_chain(chain):
        for number, line in chain:
            done = programs.run(smaller(line), cwd=folder, output=folder / f"said{number}")
            assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-4000:])

    with ThreadPoolExecutor(2) as workers:
        # As a list, so that what failed is raised here.
        list(workers.map(run_chain, chains.values()))
    return folder


def test_the_pages_have_the_commands_that_this_file_knows():
    setup = [command for command in commands(README) if command.startswith("python3 -m venv")]
    assert len(setup) == 1  # run by CI, as is the other, which does not name run.py
    assert len(commands(README)) == 12
    assert len(commands(FORMATS)) == 2 * 6 + 5
    assert len(whole_experiments()) == 8
    assert len(commands(ACCURACY)) == 5
    # Those that are no format's own.
    assert set(commands(EXPORT)) - set(commands(README)) == {
        "python run.py --mode export --checkpoint runs/acdc --output EXPORT --format=onnx"
    }


def test_every_command_of_the_readme(ran):
    assert (ran / "OUT" / "one_seg.nii.gz").exists()
    assert (ran / "OUT" / "own" / "one_seg.nii.gz").exists()
    for run in ("acdc", "acdc-again", "lvquan19-c", "no-foa-no-ssim"):
        assert (ran / "runs" / run / "evaluation" / "table.md").exists()
    assert (ran / "runs" / "acdc" / "check" / "check.png").exists()
    assert (ran / "runs" / "acdc" / "report" / "report.html").exists()
    assert (ran / "EXPORT" / "model.json").exists()
    assert (ran / "heart.safetensors").exists()
    assert nibabel.load(ran / "mask.nii.gz").shape == nibabel.load(ran / "study.nii.gz").shape


LEFT = {"myocardium", "cavity"}
BOTH = {"right ventricle", *LEFT}
WHOLE = {
    "myocardium",
    "left atrium",
    "left ventricle",
    "right atrium",
    "right ventricle",
    "ascending aorta",
    "pulmonary artery",
}
# Structures, and the volumes or frames of a test patient.
TRAINED = {
    "acdc": (BOTH, 2),
    "lvquan19": (LEFT, 3),
    "mmwhs2017": (WHOLE, 1),
    "sunnybrook": (LEFT, 1),
    "mine": (BOTH, 2),
    "nnunet": (BOTH, 1),
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_format_is_checked_trained_on_and_evaluated(ran, name):
    run = ran / "runs" / name
    structures, units = TRAINED[name]
    assert json.loads((run / "check" / "check.json").read_text())["errors"] == 0
    (fold, *_) = json.loads((run / "folds.json").read_text())["folds"]
    classes = json.loads((run / "evaluation" / "summary.json").read_text())["classes"]
    assert set(classes) == {*structures, "foreground"}
    assert classes["myocardium"]["n_units"] == units * len(fold["test"])


# What is predicted on, and each mask's shape.
PREDICTED = {
    "acdc": ("DATA/acdc/patient001", {f"patient001_frame0{frame}": (SIZE, SIZE, 3) for frame in (1, 2)}),
    "lvquan19": ("DATA/lvquan19", {f"patient{number}": (96, 96, 1, 3) for number in PATIENTS}),
    "mmwhs2017": ("DATA/mmwhs2017", {f"mr_train_{1000 + number}_image": (48, 48, 8) for number in PATIENTS}),
    "mine": ("DATA/mine/images", {f"phantom{number:03d}": (SIZE, SIZE, 3, 2) for number in PATIENTS}),
    "scans": ("SCANS", {"eva_series3": (SIZE, SIZE, 3, 2)}),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_every_format_is_predicted_on(ran, name):
    source, shapes = PREDICTED[name]
    out = ran / "OUT" / name
    report = json.loads((out / "predictions.json").read_text())
    assert set(report) == set(shapes) == {path.name.removesuffix("_seg.nii.gz") for path in out.glob("*_seg.nii.gz")}
    for ref in read_input(ran / source):
        study, mask = ref.load(), nibabel.load(out / f"{ref.case}_seg.nii.gz")
        assert mask.shape == shapes[ref.case]
        np.testing.assert_allclose(mask.affine, study.affine, atol=1e-5)
        np.testing.assert_allclose(mask.header.get_zooms()[:3], study.spacing_mm[::-1], rtol=1e-6)
        assert sum(report[ref.case]["voxels"].values()) == np.prod(mask.shape)
        assert (out / f"{ref.case}.png").stat().st_size > 0


def test_dicom_segmentations_where_something_was_found(ran):
    """Nothing may have been found in the phantom by a network of one epoch."""
    (voxels,) = [entry["voxels"] for entry in json.loads((ran / "OUT/scans/predictions.json").read_text()).values()]
    found = sum(count for name, count in voxels.items() if name != "background") > 0
    assert found == any((ran / "OUT" / "scans" / "eva_series3_dicom_seg").glob("*.dcm"))


def test_every_command_of_the_experiments(ran):
    """Each on one row and one fold, then the report; of the script of a cluster only which run each task does."""
    ablations = (f"{name}-ablate/rows/i" for name in ("lvquan19", "mmwhs2017", "phantom-quick", "phantom_whole_heart"))
    for place in (*ablations, "acdc-cv/rows/acdc", "acdc-small-cv/rows/acdc-small", "acdc-groups/rows/acdc-small"):
        assert (ran / "runs" / place / "fold0" / "done.json").exists(), place
    assert "BLP+FOA+CSD" in (ran / "runs" / "phantom-quick-ablate" / "report" / "report.html").read_text()
    (line,) = [line for block in blocks(EXPERIMENTS, "bash") for line in block.splitlines() if "benchmarks" in line]
    words = shlex.split(line)
    seen, held_out = ran / words[words.index("--seen") + 1], ran / words[words.index("--held-out") + 1]
    tested = [set(json.loads((place / "folds.json").read_text())["folds"][0]["test"]) for place in (seen, held_out)]
    given = ["--seen", str(seen), "--held-out", str(held_out), "--output", str(ran / "runs" / "heldout")]
    assert heldout.main(given) == (0 if tested[0] & tested[1] else 2)


def parsed(value):
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


@pytest.mark.parametrize("line", SWEEPS)
def test_the_sweeps_behind_the_accuracy_are_of_experiments_that_can_be_trained(line):
    module, row = re.search(r"--config experiments/(\w+)\.py:?(\S*)", line).groups()
    config = importlib.import_module(f"experiments.{module}").get_config(row).to_dict()
    changes = dict(re.findall(r"--config\.(\S+?)=(\S+)", line))
    plan = plan_ablation(with_overrides(config, {name: parsed(value) for name, value in changes.items()}))
    for row in plan.rows:
        require_settings(plan.config_of(Job(row, 0)))


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
    "page", ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md")))]
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
