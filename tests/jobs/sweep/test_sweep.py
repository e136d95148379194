"""A sweep of two rows on two folds of a tiny phantom: whole, failing, killed, taken up again, in processes."""

import csv
import json
import os
import shutil
import signal
import statistics
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from experiments import phantom
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.jobs.sweep import processes, work
from foanet_jax.measures.evaluation import read_scores
from foanet_jax.measures.metrics import patient_means
from foanet_jax.pages import report
from foanet_jax.pages.report import make_report
from foanet_jax.pages.report.results import read_sweep
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted
from tests import programs
from tests.test_end_to_end import ROOT, tiny

ROWS = ["c", "i"]
FOLDED = {"data.patients": 4, "data.folds": 2, "localization.train.epochs": 1, "segmentation.train.epochs": 1}


def sweep(folder: Path, **options) -> int:
    config = tiny(phantom.get_config(), **FOLDED)
    options = {"rows": ROWS, "processes": 1, **options}
    return work.sweep(config, folder, ablation=True, command=["test"], **options)


def command(folder: Path, *options: str) -> list[str]:
    """The same sweep from the command line."""
    ours, theirs = dotted(tiny(phantom.get_config(), **FOLDED)), dotted(phantom.get_config().to_dict())
    overrides = [f"--config.{name}={value}" for name, value in ours.items() if value != theirs[name]]
    return [
        str(ROOT / "run.py"),
        "--mode=ablate",
        f"--rows={','.join(ROWS)}",
        f"--workdir={folder}",
        *overrides,
        *options,
    ]


def run(folder: Path, *options: str) -> programs.Done:
    return programs.run(command(folder, *options), cwd=ROOT, output=folder.with_suffix(".said"))


def start(folder: Path, *options: str, until: str) -> BaseProcess:
    """The sweep in a process, from the moment that there is a certain file in its folder."""
    process = programs.start(command(folder, *options), cwd=ROOT, output=folder.with_suffix(".said"))
    while not list(folder.glob(until)):
        assert process.exitcode is None
        time.sleep(0.05)
    return process


def trained_only(swept: Path, folder: Path, *runs: tuple[str, int]) -> Path:
    """A copy of the sweep in which these runs still have to be evaluated."""
    shutil.copytree(swept, folder, symlinks=True)
    for row, fold in runs:
        place = folder / "rows" / row / f"fold{fold}"
        (place / "done.json").unlink()
        shutil.rmtree(place / "evaluation")
    return folder


def tables(folder: Path) -> dict[str, str]:
    """The tables that do not tell how long things took."""
    return {
        path.name: path.read_text() for path in (folder / "report" / "tables").glob("*") if "timings" not in path.name
    }


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "phantom"
    assert sweep(folder) == 0
    return folder


@pytest.fixture
def no_figures(monkeypatch):
    """Figures would take most of the time of a report; other tests look at them."""
    monkeypatch.setattr(report, "draw_figures", lambda *_: [])


def test_every_row_and_fold_is_a_run_of_its_own(swept):
    result = read_sweep(swept)
    assert [(row.name, [run.fold for run in row.runs]) for row in result.rows] == [("c", [0, 1]), ("i", [0, 1])]
    assert not any(row.failures or row.missing for row in result.rows)
    patients = [{score.patient for score in run.scores} for run in result.row("i").runs]
    assert len(patients[0] | patients[1]) == 4
    assert not patients[0] & patients[1]
    model = load_model(swept / "rows" / "i" / "fold1")
    assert len(model.localization) == 1
    assert model.segmentation[0].prepare.foa


def test_the_localization_network_is_trained_once_a_fold(swept):
    (shared,) = swept.glob("localization-*")
    assert sorted(path.name for path in shared.iterdir()) == ["fold0", "fold1"]
    for row in ROWS:
        for fold in ("fold0", "fold1"):
            link = swept / "rows" / row / fold / "localization"
            assert not os.path.isabs(os.readlink(link)), "the folder of a sweep can be moved"
            assert link.resolve() == (shared / fold / "localization").resolve()


def test_the_tables_are_the_means_of_the_runs_scores(swept):
    with (swept / "report" / "tables" / "main.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    for row in ROWS:
        scores = [s for fold in (0, 1) for s in read_scores(swept / f"rows/{row}/fold{fold}/evaluation/scores.csv")]
        means = [patient.dc for patient in patient_means(scores) if patient.class_name == "myocardium"]
        assert float(lines[row]["dc_mean"]) == pytest.approx(statistics.fmean(means), abs=1e-12)
        assert int(lines[row]["n_patients"]) == len(means) == 4


def test_the_kinds_are_of_all_patients(swept):
    with (swept / "report" / "tables" / "kinds.csv").open() as file:
        kinds = {(line["kind"], line["which"]): int(line["n_patients"]) for line in csv.DictReader(file)}
    assert kinds["moment", "end diastole"] == kinds["moment", "end systole"] == 4


def test_a_setting_that_cannot_be_is_refused_before_it_is_saved(tmp_path):
    folder = tmp_path / "refused"
    config = tiny(phantom.get_config(), **FOLDED, **{"prediction.tta": "flip"})
    with pytest.raises(InputError, match=r"prediction\.tta is 'flip'"):
        work.sweep(config, folder, ablation=True, rows=ROWS, processes=1, command=[])
    assert not folder.exists()


def test_what_is_done_is_not_done_again(swept):
    def when():
        return {path: path.stat().st_mtime_ns for path in sorted(swept.rglob("*")) if path.is_file()}

    before = when()
    assert sweep(swept) == 0
    changed = {path.name for path, time_ in when().items() if before.get(path) != time_}
    assert changed <= {".lock", "folds.json", "sweep.json"}


def test_the_report_needs_nothing_but_the_folder(swept, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(swept, moved, symlinks=True, ignore=shutil.ignore_patterns("checkpoints", "report"))
    page = make_report(moved)
    assert tables(moved) == tables(swept)
    assert {path.name for path in (moved / "report" / "figures").glob("*.png")} == {
        path.name for path in (swept / "report" / "figures").glob("*.png")
    }
    assert "BLP+FOA+CSD" in page.read_text()


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_fails_is_named_and_the_rest_go_on(swept, tmp_path, monkeypatch):
    folder = trained_only(swept, tmp_path / "failing", ("c", 1), ("i", 0))
    evaluate = work.evaluate

    def fail(config, *arguments, **options):
        if (config["row"], config["data"]["fold"]) == ("c", 1):
            raise RuntimeError("the disk is full")
        return evaluate(config, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(work, "evaluate", fail)
        assert sweep(folder) == 1
    result = read_sweep(folder)
    assert dict(result.row("c").failures) == {1: "RuntimeError: the disk is full"}
    assert [run.fold for run in result.row("i").runs] == [0, 1]
    assert "the disk is full" in (folder / "report" / "tables" / "main.md").read_text()
    record = json.loads((folder / "rows" / "c" / "fold1" / "failed.json").read_text())
    assert "Traceback" in record["traceback"]
    assert sweep(folder) == 0
    assert tables(folder) == tables(swept)


def test_killed_in_a_training_and_in_an_evaluation_it_gives_the_same_tables(swept, tmp_path):
    folder = tmp_path / "killed"
    for moment in ("localization-*/fold0/done.json", "rows/c/fold1/evaluation"):
        process = start(folder, until=moment)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    done = run(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert tables(folder) == tables(swept)


def test_runs_in_processes_of_their_own(tmp_path):
    folder = tmp_path / "processes"
    done = run(folder, "--processes=2", "--rows=i")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "row i, fold 0: done after" in done.stdout
    result = read_sweep(folder)
    assert [run.fold for run in result.row("i").runs] == [0, 1]
    assert (folder / "rows" / "i" / "fold0" / "output.log").stat().st_size > 0
    assert (folder / "report" / "report.html").exists()


def test_one_run_of_an_array_leaves_the_rest_to_others(swept, tmp_path, caplog):
    folder = trained_only(swept, tmp_path / "array", *((row, fold) for row in ROWS for fold in (0, 1)))
    shutil.rmtree(folder / "report")
    caplog.set_level("INFO", "foanet_jax")
    assert sweep(folder, folds=[1]) == 0
    result = read_sweep(folder)
    assert [row.missing for row in result.rows] == [(0,), (0,)]
    assert "2 runs are still missing" in caplog.text
    assert not (folder / "report").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_report_that_a_kill_left_behind_is_made_again(swept, tmp_path):
    folder = tmp_path / "behind"
    shutil.copytree(swept, folder, symlinks=True)
    page = folder / "report" / "report.html"
    (folder / "report" / "tables" / "main.csv").write_text("half")
    (folder / "report" / "figures" / "of_an_earlier_report.png").write_text("")
    os.utime(page, (0, 0))
    assert sweep(folder) == 0
    assert tables(folder) == tables(swept)
    assert not (folder / "report" / "figures" / "of_an_earlier_report.png").exists()


def test_a_report_without_the_reference(swept, tmp_path):
    folder = tmp_path / "without"
    shutil.copytree(swept, folder, symlinks=True)
    plan = json.loads((folder / "sweep.json").read_text())
    del plan["rows"]["i"]
    (folder / "sweep.json").write_text(json.dumps(plan))
    make_report(folder)
    assert sorted(tables(folder)) == sorted(name for name in tables(swept) if "comparisons" not in name)


def test_other_folds_are_refused_once_a_sweep_has_begun(swept, tmp_path):
    folds = json.loads((swept / "folds.json").read_text())
    folds["folds"] = folds["folds"][::-1]
    (tmp_path / "other.json").write_text(json.dumps(folds))
    config = tiny(phantom.get_config(), **FOLDED, **{"data.folds_file": str(tmp_path / "other.json")})
    with pytest.raises(InputError, match="differs from the folds that"):
        work.sweep(config, swept, ablation=True, rows=ROWS, processes=1, command=[])


def test_interrupted_it_ends_its_processes(tmp_path):
    folder = tmp_path / "interrupted"
    process = start(folder, "--processes=2", until="rows/*/*/output.log")
    process.terminate()
    process.join()
    assert process.exitcode == 0
    told = folder.with_suffix(".said.out").read_text()
    assert told.splitlines()[-1] == "SIGTERM: stopped; to continue, use the same command"
    assert not list(folder.rglob("failed.json"))
    assert not list(folder.rglob("done.json"))


@pytest.mark.parametrize(
    "name", ["rows/c/fold0/evaluation/sizes.csv", "rows/c/fold0/evaluation/gallery.npz", "sweep.json"]
)
def test_damaged_results_are_told(swept, tmp_path, name):
    folder = tmp_path / "damaged"
    shutil.copytree(swept, folder, symlinks=True, ignore=shutil.ignore_patterns("checkpoints", "report"))
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        make_report(folder)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"neither sweep\.json nor run\.json"):
        make_report(tmp_path)


def test_each_process_gets_a_gpu_or_a_share_of_the_cores(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda _: True)
    assert processes.devices_at_hand(0) == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    three = processes.devices_at_hand(3)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in three] == ["2", "5", "2"]
    assert {one["XLA_PYTHON_CLIENT_MEM_FRACTION"] for one in three} == {"0.45"}
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert processes.devices_at_hand(0) == [{0, 1, 2, 3}]
    assert processes.devices_at_hand(2) == [{0, 2}, {1, 3}]
    assert processes.devices_at_hand(5)[4] == {0, 1, 2, 3}
