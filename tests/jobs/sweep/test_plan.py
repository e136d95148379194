"""What a sweep consists of, and when two sweeps are the same."""

import dataclasses
import json

import pytest

from experiments import acdc, lvquan19, mmwhs2017, phantom
from experiments.common import ROWS
from foanet_jax.jobs.sweep.plan import (
    Job,
    localization_digest,
    plan_ablation,
    plan_cross_validation,
    require_same,
    save_plan,
)
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted, nested


def plan(config=None, folds=3):
    made = plan_ablation((config or phantom.get_config()).to_dict())
    return dataclasses.replace(made, folds=tuple(range(folds)))


def test_jobs_run_row_by_row_with_the_folds_inside():
    jobs = plan().jobs(rows=["i", "c"])
    assert jobs == [Job("c", 0), Job("c", 1), Job("c", 2), Job("i", 0), Job("i", 1), Job("i", 2)]
    assert plan().jobs(rows=["d"], folds=[2]) == [Job("d", 2)]
    assert len(plan().jobs()) == 3 * len(ROWS)


@pytest.mark.parametrize(
    ("rows", "folds", "message"),
    [(["zz"], [], "there is no row zz; choose from a, b"), ([], [3], "there is no fold 3")],
)
def test_a_row_or_fold_that_there_is_not(rows, folds, message):
    with pytest.raises(InputError, match=message):
        plan().jobs(rows, folds)


def test_a_jobs_configuration_is_the_rows_on_its_fold():
    config = plan().config_of(Job("c", 2))
    assert (config["row"], config["data"]["fold"]) == ("c", 2)
    row = phantom.get_config("c").to_dict()
    for stage in ("localization", "segmentation"):
        assert config[stage] == row[stage]


def test_an_ablation_starts_from_the_experiment_or_a_variant_but_not_from_a_row():
    with pytest.raises(InputError, match=r":c: --mode ablate runs all rows; leave out :c, or select rows with --rows"):
        plan_ablation(lvquan19.get_config("c").to_dict())
    small = plan_ablation(acdc.get_config("small").to_dict())
    config = small.config_of(Job("cce", 0))
    assert config["segmentation"]["network"]["width"] == 0.375
    assert config["segmentation"]["loss"]["dice"] == 0


def test_a_row_that_changes_what_there_is_not():
    config = phantom.get_config().to_dict()
    config["rows"]["c"]["change"] = {"segmentation": {"nonsense": 1}}
    with pytest.raises(InputError, match=r"segmentation\.nonsense: there is no such field"):
        plan_ablation(config)


def test_a_reference_that_is_no_row():
    config = phantom.get_config().to_dict()
    config["table"]["reference"] = "best"
    with pytest.raises(InputError, match="'best'; choose one of a, b"):
        plan_ablation(config)


def test_cross_validation_is_one_row():
    made = plan_cross_validation(acdc.get_config("small").to_dict())
    made = dataclasses.replace(made, folds=(0, 1))
    assert [str(job) for job in made.jobs()] == ["row acdc-small, fold 0", "row acdc-small, fold 1"]
    assert (made.title, made.rows["acdc-small"].paper) == ("acdc-small", {})
    assert made.config_of(Job("acdc-small", 1))["segmentation"]["network"]["width"] == 0.375
    row = plan_cross_validation(lvquan19.get_config("c").to_dict())
    assert (list(row.rows), row.reference, row.rows["c"].title) == (["c"], "c", "BLP+CCE")
    assert row.rows["c"].paper["dc"] == 0.877


def test_the_papers_numbers_stand_in_the_rows():
    rows = plan_ablation(lvquan19.get_config().to_dict()).rows
    assert rows["a"].paper == {"dc": 0.842, "hd95_mm": 3.186, "bdc": 0.269}
    assert rows["f"].paper == {}
    assert plan_ablation(phantom.get_config().to_dict()).rows["a"].paper["dc"] == 0.842
    assert all(row.paper == {} for row in plan_ablation(acdc.get_config().to_dict()).rows.values()), "not in the paper"
    assert plan_ablation(mmwhs2017.get_config().to_dict()).rows["i"].paper == {"dc": 0.851}


@pytest.mark.parametrize("variant", ["", "small"])
def test_acdcs_rows_leave_one_part_of_the_recipe_out(variant):
    recipe = acdc.get_config(variant)
    made = plan_ablation(recipe.to_dict())
    assert made.reference == "i"
    found = {}
    for row in made.rows:
        config = dotted(made.config_of(Job(row, 0)))
        before = dotted(recipe.to_dict())
        found[row] = {name: value for name, value in config.items() if before[name] != value and name != "row"}
    whole = {"localization.enabled": False, "segmentation.prepare.foa": False}
    unet = {"segmentation.network.architecture": "unet"}
    assert found == {
        "no-localization": whole,
        "no-foa": {"segmentation.prepare.foa": False},
        "no-part2": {"segmentation.network.architecture": "net1"},
        "cce": {"segmentation.loss.ssim": 0.0, "segmentation.loss.dice": 0.0},
        "unet": {**unet, **whole},
        "unet-crop": unet,
        "i": {},
    }
    localized = [row for row in made.rows if made.config_of(Job(row, 0))["localization"]["enabled"]]
    assert localized == ["no-foa", "no-part2", "cce", "unet-crop", "i"]
    assert len({localization_digest(made.config_of(Job(row, 0))) for row in localized}) == 1


def test_rows_share_a_localization_network_unless_they_change_it():
    made = plan()
    digests = {row: localization_digest(made.config_of(Job(row, 0))) for row in made.rows if row != "a"}
    assert len(set(digests.values())) == 1
    assert localization_digest(made.config_of(Job("b", 1))) == digests["b"], "the fold is in the folder's name"
    changed = made.config_of(Job("b", 0))
    changed["localization"]["optimiser"]["learning_rate"] = 0.1
    assert localization_digest(changed) != digests["b"]


def test_rows_are_added_to_a_sweep_in_the_tables_order(tmp_path):
    save_plan(plan(), tmp_path, ["i"])
    save_plan(plan(), tmp_path, ["c"])
    save_plan(plan(), tmp_path, ["i"])
    assert list(json.loads((tmp_path / "sweep.json").read_text())["rows"]) == ["c", "i"]


def changed(**fields):
    config = phantom.get_config()
    for name, value in fields.items():
        *parents, field = name.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        place[field] = value
    return config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "config.seed was 0 and is now 3"),
        ({"data__folds": 4}, "config.data.folds was 5 and is now 4"),
        ({"segmentation__train__epochs": 99}, "config.segmentation.train.epochs was 8 and is now 99"),
        ({"rows__c__change": {"localization": {"enabled": False}}}, "row c was"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(tmp_path, change, message):
    save_plan(plan(), tmp_path, [])
    with pytest.raises(InputError, match=message):
        require_same(plan(changed(**change)), tmp_path)


def test_the_place_of_the_data_may_differ_between_machines(tmp_path):
    save_plan(plan(), tmp_path, [])
    require_same(plan(changed(data__root="/elsewhere", prediction__memory_mb=100)), tmp_path)


def test_a_single_run_is_no_sweep(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds a single run"):
        require_same(plan(), tmp_path)


@pytest.mark.parametrize("name", ["../out", "a/b", "a,b", "", ".hidden"])
def test_names_of_rows_that_are_no_names_of_folders(name):
    config = phantom.get_config().to_dict()
    config["rows"][name] = config["rows"]["c"]
    config["table"]["order"] = (*config["table"]["order"], name)
    with pytest.raises(InputError, match="use only letters, digits"):
        plan_ablation(config)


def test_a_row_may_not_change_the_data():
    config = changed(rows__c__change={"data": {"patients": 3}}).to_dict()
    with pytest.raises(InputError, match=r"row c changes data\.patients"):
        plan_ablation(config)


def test_training_patients_are_not_scored_in_a_sweep():
    with pytest.raises(InputError, match=r"evaluation\.patients must be 'test'"):
        plan(changed(evaluation__patients="all"))


def test_any_row_can_be_the_reference():
    assert plan(changed(table__reference="csd")).reference == "csd"


def test_nested_and_dotted_are_inverse():
    flat = {"a.b.c": 1, "a.b.d": (1, 2), "e": None}
    assert dotted(nested(flat)) == flat
    assert nested(flat) == {"a": {"b": {"c": 1, "d": (1, 2)}}, "e": None}
