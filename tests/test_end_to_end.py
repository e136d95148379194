"""Files in, masks out: training, evaluation and prediction as a user runs them, on tiny phantoms."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from experiments import acdc, lvquan19, mmwhs2017, phantom, short_axis, short_axis_search
from experiments.common import ROWS
from foanet_jax.data.folds import Fold, Folds, save_folds
from foanet_jax.data.phantom.short_axis import short_axis_stack, short_axis_study
from foanet_jax.data.phantom.writers import write_acdc
from foanet_jax.jobs import prediction
from foanet_jax.jobs.experiment import evaluating, training
from foanet_jax.jobs.experiment.model import load_description, load_model
from foanet_jax.jobs.experiment.reviewing import calibrate, expectations
from foanet_jax.jobs.experiment.studies import list_studies, open_folds
from foanet_jax.jobs.sweep.work import sweep
from foanet_jax.measures.indices.compare import read_pairs
from foanet_jax.measures.indices.tables import read_lv_indices
from foanet_jax.measures.quality.review import Expectations
from foanet_jax.measures.quality.table import read_quality
from foanet_jax.measures.sizes import read_sizes
from foanet_jax.pages.report.clinical import clinical_tables
from foanet_jax.pages.report.results import read_sweep
from foanet_jax.settings import network_settings, with_overrides
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted
from foanet_jax.training.runlog import read_log
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.validation import Validation
from tests import programs
from tests.saved_runs import save_run

ROOT = Path(__file__).parents[1]
TINY = {
    "data.patients": 5,
    "data.phantom": {"size": 96, "frames": 3, "shape": (12, 64, 64)},
    "evaluation.overlays": 1,
}
TINY_NETWORK = {
    "network.width": 1 / 32,
    "network.norm": "batch",
    "prepare.spacing_mm": 5.0,
    "prepare.bucket": 64,
    "train.epochs": 2,
    "train.batch_size": 2,
    "train.examples_per_epoch": 8,
}


def tiny(config, **overrides):
    """A configuration small enough for a test."""
    changes = {**TINY, **{f"{stage}.{k}": v for stage in NETWORKS for k, v in TINY_NETWORK.items()}}
    with config.unlocked():
        for name, value in {**changes, **overrides}.items():
            *parents, field = name.split(".")
            place = config
            for parent in parents:
                place = place[parent]
            place[field] = value
    return config.to_dict()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a tiny phantom training, evaluated."""
    workdir = tmp_path_factory.mktemp("phantom")
    config = tiny(phantom.get_config())
    training.train(config, workdir, resume=False, tensorboard=True, command=["test"])
    evaluating.evaluate(config, workdir, workdir)
    return workdir, config


def test_a_run_leaves_everything_it_promises(trained):
    workdir, _ = trained
    for stage in NETWORKS:
        records = read_log(workdir / stage)
        assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 9))
        assert [r["epoch"] for r in records if r["kind"] == "validation"] == [0, 1]
        assert (workdir / stage / "curves.png").stat().st_size > 0
        assert list((workdir / stage / "tensorboard").glob("events.*"))
    folds = json.loads((workdir / "folds.json").read_text())
    record = json.loads((workdir / "run.json").read_text())
    assert record["config"]["data"]["name"] == "phantom"
    facts = {"config", "command", "versions", "devices", "processes", "determinism", "platform", "commit"}
    assert set(record) == facts
    assert record["determinism"].startswith("bit-identical on this kind of processor")
    names = {path.name for path in (workdir / "evaluation").iterdir()}
    assert names >= {"scores.csv", "patients.csv", "summary.json", "table.md", "boxplots.png", "flags.json"}
    assert names >= {"sizes.csv", "studies.csv", "timing.json", "gallery.npz", "overlays"}
    summary = json.loads((workdir / "evaluation" / "summary.json").read_text())
    assert set(summary["classes"]) == {"myocardium", "cavity", "foreground"}
    assert summary["classes"]["cavity"]["n_patients"] == len(folds["folds"][0]["test"])
    assert summary["classes"]["cavity"]["n_units"] == 3 * len(folds["folds"][0]["test"])


def test_one_fold_trains_with_everybody_and_tests_nobody(tmp_path):
    config = tiny(phantom.get_config(), **{"data.folds": 1, "data.patients": 8, "data.validation_fraction": 0.7})
    run, other = tmp_path / "run", tmp_path / "other"
    folds = open_folds(config, list_studies(config)).folds
    assert [len(part) for part in (folds[0].train, folds[0].validation, folds[0].test)] == [2, 6, 0]
    save_run(run, config, folds)
    fitted = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluating, "calibrate", lambda model, studies, *a, **k: fitted.extend(studies))
        assert evaluating.evaluate(config, run, run) is None
    assert {study.patient for study in fitted} == set(folds[0].validation)
    assert not (run / "evaluation").exists()
    with pytest.raises(InputError, match=r"no test patients; evaluate on other data with .*patients=all"):
        evaluating.evaluate(config, other, run)
    assert not other.exists()
    with pytest.raises(InputError, match=r"data\.folds=2"):
        sweep(config, tmp_path / "sweep", ablation=False, command=[])


def test_training_again_in_the_same_folder_is_refused_and_changes_no_record(trained):
    workdir, config = trained
    records = [workdir / "run.json", workdir / "folds.json"]
    before = [path.read_bytes() for path in records]
    other = with_overrides(config, {"data.fold": 1})
    for asked, resume, says in ((config, False, "--resume"), (other, True, r"config.data.fold = 0, but now it is 1")):
        with pytest.raises(InputError, match=says):
            training.train(asked, workdir, resume=resume, tensorboard=False, command=[])
    assert [path.read_bytes() for path in records] == before


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(trained, tmp_path, monkeypatch):
    whole, config = trained
    cut = tmp_path / "cut"
    shutil.copytree(whole / "localization", cut / "localization")
    score = Validation.score

    def in_one_epoch(validation, network):
        if read_log(cut / "segmentation"):  # that was saved with the first epoch
            raise KeyboardInterrupt
        return score(validation, network)

    monkeypatch.setattr(Validation, "score", in_one_epoch)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, cut, resume=True, tensorboard=False, command=[])
    assert not (cut / "segmentation" / "curves.png").exists()
    monkeypatch.setattr(Validation, "score", score)
    training.train(config, cut, resume=True, tensorboard=False, command=[])
    for stage in NETWORKS:
        assert read_log(whole / stage) == read_log(cut / stage)
    one = load_model(whole, which="last").segmentation[0].variables
    other = load_model(cut, which="last").segmentation[0].variables
    np.testing.assert_array_equal(one["params"]["score"]["kernel"], other["params"]["score"]["kernel"])


def test_prediction_writes_masks_on_the_inputs_grid(trained, tmp_path):
    workdir, _ = trained
    study = short_axis_stack(3, size=80, seed=5)
    data = study.voxels[0].transpose(2, 1, 0)
    affine = np.diag([1.4, -1.4, 9.0, 1.0])
    affine[:3, 3] = [10, 20, -30]
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    (tmp_path / "in").mkdir()
    nibabel.save(image, tmp_path / "in" / "one.nii.gz")
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"not a NIfTI file")
    failures = prediction.predict(workdir, tmp_path / "in", tmp_path / "out", third_axis="slice", overwrite=False)
    assert failures == 1
    mask = nibabel.load(tmp_path / "out" / "one_seg.nii.gz")
    assert mask.shape == data.shape
    np.testing.assert_allclose(mask.affine, affine, atol=1e-5)
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2}
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert set(report) == {"one", "broken"}
    assert "broken.nii.gz" in report["broken"]["message"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html",
        "one.html",
        "one_seg.nii.gz",
        "labels.ctbl",
        "labels.txt",
        "one.png",
        "one_indices.csv",
        "one_volumes.csv",
        "predictions.json",
        "summary.csv",
        "summary.schema.json",
    }
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert 'href="./one.html"' in index
    assert "broken.nii.gz" in index
    with pytest.raises(InputError, match="--overwrite"):
        prediction.predict(workdir, tmp_path / "in", tmp_path / "out", third_axis="slice", overwrite=False)


def test_prediction_measures_what_it_wrote(trained, tmp_path):
    workdir, _ = trained
    study = short_axis_stack(2, size=80, slices=3, seed=4)
    for frame in (1, 9):
        image = nibabel.Nifti1Image(study.voxels[0].transpose(2, 1, 0) / frame, np.diag([1.4, 1.4, 9.0, 1.0]))
        (tmp_path / "in").mkdir(exist_ok=True)
        nibabel.save(image, tmp_path / "in" / f"p1_frame{frame:02d}.nii.gz")
    prediction.predict(workdir, tmp_path / "in", tmp_path / "out", third_axis="slice", overwrite=False)
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = {row["study"]: row for row in csv.DictReader(file)}
    # The two frames of a patient are one row; each has a row in another table.
    assert list(rows) == ["p1"]
    assert rows["p1"]["frames"] == "p1_frame01 p1_frame09"
    with (tmp_path / "out" / "frames.csv").open(newline="") as file:
        rows = {row["study"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["p1_frame01", "p1_frame09"]
    voxel_ml = 1.4 * 1.4 * 9 / 1000
    for case, entry in report.items():
        mask = np.asarray(nibabel.load(tmp_path / "out" / f"{case}_seg.nii.gz").dataobj)
        assert entry["quality"]["verdict"] == rows[case]["verdict"]
        assert entry["quality"]["verdict"] in ("good", "check", "reject")
        assert entry["indices"]["cavity_ml"] == pytest.approx((mask == 2).sum() * voxel_ml, rel=1e-6)
        areas = read_lv_indices(tmp_path / "out" / f"{case}_indices.csv")[case].cavity_area_mm2
        assert areas.shape == (1, 3)
        assert {finding["code"] for finding in entry["quality"]["findings"]} == set(rows[case]["reasons"].split())
        if mask.any():
            assert 1 / 3 < entry["quality"]["confidence"]["foreground"] <= 1


def test_evaluation_leaves_indices_and_what_confidence_was_worth(trained):
    workdir, _ = trained
    folder = workdir / "evaluation"
    pairs = read_pairs(folder / "indices.csv")
    scores = json.loads((folder / "indices.json").read_text())
    assert set(scores) == {pair.index for pair in pairs} >= {"cavity_area_mm2", "rwt_is_mm", "dim_i_a_mm", "phase"}
    assert "cavity_area_mm2" in (folder / "table.md").read_text()
    # The areas are those of sizes.csv wherever they are of one piece; the truth's always are.
    true = {(pair.case, pair.frame): pair.truth for pair in pairs if pair.index == "cavity_area_mm2"}
    sizes = {(s.case, s.frame): s.truth for s in read_sizes(folder) if s.class_name == "cavity"}
    assert true == {place: pytest.approx(size) for place, size in sizes.items()}
    rows = read_quality(folder)
    assert {row.class_name for row in rows} == {"myocardium", "cavity", "foreground"}
    worth = json.loads((folder / "quality.json").read_text())
    assert worth["classes"]["cavity"]["n"] == len({row.case for row in rows})
    # There are fewer validation patients than a calibration takes.
    assert not (workdir / "calibration.json").exists()
    result = read_sweep(workdir)
    assert [table.name for table in clinical_tables(result)] == ["indices", "quality"]


def test_a_calibration_is_fitted_on_validation_studies_and_read_again(trained, tmp_path):
    workdir, _ = trained
    model = load_model(workdir)
    studies = [short_axis_study(patient, size=96, frames=1) for patient in range(20, 28)]
    fitted = calibrate(model, studies, tmp_path, checkpoint="best", memory_bytes=2**30)
    description = load_description(workdir)
    found = expectations([tmp_path], description)
    assert found.calibration == fitted
    assert set(found.trained) == {"row_mm", "column_mm", "rows", "columns", "contrast", "sharpness"}
    assert found.trained["rows"] == [96, 96]
    # Checkpoints of older versions do not tell what they were trained on.
    assert expectations([tmp_path], {}, checkpoint="last") == Expectations(None, None)
    assert calibrate(model, studies[:4], tmp_path, checkpoint="best", memory_bytes=2**30) is None
    assert not (tmp_path / "calibration.json").exists()


@pytest.mark.parametrize("row", list(ROWS))
def test_every_row_of_table_one_builds_and_takes_a_step(row, tmp_path):
    one_step = {"train.epochs": 1, "train.batch_size": 1, "train.examples_per_epoch": 1, "network.norm": "none"}
    one_step = {f"segmentation.{name}": value for name, value in one_step.items()}
    config = tiny(phantom.get_config(row), **one_step, **{"data.validation_fraction": 0.0})
    assert config["row"] == row
    # The localization network is the same in all of them.
    training.train(config, tmp_path, resume=False, tensorboard=False, command=[], networks=("segmentation",))
    (record,) = read_log(tmp_path / "segmentation")
    weights = config["segmentation"]["loss"]
    assert np.isfinite(record["loss"])
    assert record["loss"] == pytest.approx(sum(record.get(term, 0) * weights[term] for term in ("cce", "ssim", "dice")))


def test_rows_differ_as_table_one_says():
    def row(name):
        config = lvquan19.get_config(name)
        terms = [term for term in ("cce", "ssim", "dice") if config.segmentation.loss[term]]
        return (
            config.localization.enabled,
            config.segmentation.network.architecture,
            config.segmentation.prepare.foa,
            "+".join(terms),
        )

    assert {name: row(name) for name in ROWS} == {
        "a": (False, "net1", False, "cce"),
        "b": (True, "net1", False, "cce"),
        "c": (True, "net2", False, "cce"),
        "d": (True, "net2", False, "ssim"),
        "e": (True, "net2", False, "dice"),
        "f": (True, "net2", False, "cce+ssim"),
        "g": (True, "net2", False, "cce+dice"),
        "h": (True, "net2", False, "ssim+dice"),
        "csd": (True, "net2", False, "cce+ssim+dice"),
        "i": (True, "net2", True, "cce+ssim+dice"),
        "unet": (True, "unet", True, "cce+ssim+dice"),
    }


def test_the_papers_numbers_are_the_defaults():
    for module in (lvquan19, mmwhs2017):
        config = module.get_config()
        assert config.segmentation.prepare.spacing_mm == 0.65
        assert config.localization.margin_px == 10
        for stage in (config.localization, config.segmentation):
            optimiser = stage.optimiser
            assert (optimiser.learning_rate, optimiser.beta1, optimiser.beta2, optimiser.epsilon) == (
                0.002,
                0.9,
                0.999,
                0.001,
            )
            assert (stage.train.epochs, stage.train.batch_size) == (10, 1)
            assert (stage.network.width, stage.network.side_maps, stage.network.norm) == (1.0, 16, "none")
    assert lvquan19.get_config().segmentation.augment.flip
    assert not mmwhs2017.get_config().segmentation.augment.flip
    assert acdc.get_config("small").segmentation.network.width < 1


def test_every_row_that_was_tried_changes_the_recipe_in_what_it_says():
    recipe = dotted(short_axis.get_config("small").to_dict())
    for name, row in short_axis_search.ROWS.items():
        config = short_axis_search.get_config(f"small,{name}").to_dict()
        tried, stages = dotted(config), ("localization.", "segmentation.")
        assert {field for field in recipe if field.startswith(stages) and tried[field] != recipe[field]} == set(
            row.change
        )
        network_settings(config, "segmentation", 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config.segmentation.prepare.foa", "false"], "left over: false"),
        (["--config=experiments/none.py"], "none.py"),
        (["--config=experiments/phantom.py:z"], "choose one of a, b"),
        (["--config=experiments/acdc.py"], "--config.data.root=DIR"),
        (["--config=experiments/acdc.py", "--config.data.root=nowhere"], "nowhere"),
        (["--config.segmentation.network.architecture=resnet"], "net1, net2, unet"),
        (["--config.segmentation.prepare.delta_ratio=0.0"], "delta_ratio must be positive"),
        (["--config.segmentation.network.depth=3"], "depth"),
        (["--config.data.fold=9"], "choose a fold from 0 to 4"),
        (["--mode=release"], "--checkpoint, --output"),
        (["--mode=predict", f"--config={ROOT / 'experiments' / 'acdc.py'}"], "--config is not read by --mode predict"),
        (["--mode", "export", "--config.seed=3"], "--config.seed is not read by --mode export"),
        (["--mode=predict", f"--input={ROOT}", "--output=y", "--checkpoint=nowhere"], "nowhere"),
        (["--mode=evaluate", "--checkpoint=nowhere"], "nowhere"),
        (["--mode=dance"], "predict|measure|check|run|train|evaluate|cv|ablate"),
    ],
)
def test_wrong_input_is_one_clear_error_and_writes_nothing(arguments, says, tmp_path):
    workdir = tmp_path / "run"
    words = [str(ROOT / "run.py"), f"--workdir={workdir}", *arguments]
    done = programs.run(words, cwd=ROOT, output=tmp_path / "said")
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workdir / "localization").exists()
    assert not (workdir / "run.json").exists()


def rewrite(path: Path, change) -> None:
    """The NIfTI file with its voxels and header put through `change`."""
    image = nibabel.load(path)
    data, header = np.asarray(image.dataobj).astype(np.float32), image.header.copy()
    changed = nibabel.Nifti1Image(change(data, header), image.affine, header)
    changed.header["pixdim"] = header["pixdim"]
    changed.set_data_dtype(np.float32)
    nibabel.save(changed, path)


def set_nan(data, header):
    data[0, 0, 0] = np.nan
    return data


def without_spacing(data, header):
    header["pixdim"][1] = 0
    return data


@pytest.mark.parametrize(
    ("name", "break_file", "says"),
    [
        ("patient002_frame01.nii.gz", Path.unlink, "patient002_frame01"),
        ("patient002_frame01.nii.gz", lambda p: rewrite(p, lambda d, h: d[:-1]), "patient002_frame01"),
        ("patient002_frame01.nii.gz", lambda p: rewrite(p, lambda d, h: 0 * d + 4), "σ = 0"),
        ("patient002_frame01.nii.gz", lambda p: rewrite(p, set_nan), "NaN"),
        ("patient002_frame01_gt.nii.gz", lambda p: rewrite(p, lambda d, h: d + 4 * (d == 3)), "7"),
        ("patient002_frame01.nii.gz", lambda p: rewrite(p, without_spacing), "pixdim"),
        ("patient002_frame01.nii.gz", lambda p: p.write_bytes(p.read_bytes()[:-200]), "patient002_frame01"),
    ],
    ids=["missing", "shape", "sigma", "nan", "label", "spacing", "truncated"],
)
def test_bad_data_is_one_clear_error_and_nothing_is_written(name, break_file, says, tmp_path):
    for number in range(1, 6):
        study = short_axis_stack(number, size=64, slices=3)
        patient = f"patient{number:03d}"
        cases = [dataclasses.replace(study, patient=patient, case=f"{patient}_frame{frame:02d}") for frame in (1, 8)]
        write_acdc(cases, tmp_path / "data")
    break_file(tmp_path / "data" / "patient002" / name)
    patients = [f"patient{number:03d}" for number in range(1, 6)]
    save_folds(Folds((Fold(tuple(patients[:4]), (), tuple(patients[4:])),), 0, 0.0), tmp_path / "folds.json")
    config = tiny(
        acdc.get_config(), **{"data.root": str(tmp_path / "data"), "data.folds_file": str(tmp_path / "folds.json")}
    )
    with pytest.raises(InputError, match=says) as caught:
        training.train(config, tmp_path / "run", resume=False, tensorboard=False, command=[])
    assert "patient002" in str(caught.value)
    assert not (tmp_path / "run").exists()
