"""What a sweep consists of, and when two sweeps are the same."""

import json

import pytest

from experiments import acdc, lvquan19, mmwhs2017, phantom
from experiments.common import ROWS
from foanet_jax.errors import InputError
from foanet_jax.settings import dotted, nested
from foanet_jax.sweep.plan import Job, localization_digest, plan_ablation, plan_cross_validation, save_plan


def plan(**overrides):
    config = phantom.get_config()
    for name, value in overrides.items():
        config[name] = value
    return plan_ablation(config.to_dict(), 3)


def test_jobs_run_row_by_row_with_the_folds_inside():
    jobs = plan().jobs(rows=["i", "c"])
    assert jobs == [Job("c", 0), Job("c", 1), Job("c", 2), Job("i", 0), Job("i", 1), Job("i", 2)]
    assert plan().jobs(rows=["d"], folds=[2]) == [Job("d", 2)]
    assert len(plan().jobs()) == 3 * len(ROWS)


@pytest.mark.parametrize(
    ("rows", "folds", "message"), [(["zz"], [], "no row zz; there are a, b"), ([], [3], "no fold 3")]
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
    with pytest.raises(InputError, match=r":c: --mode ablate runs all rows; choose some with --rows"):
        plan_ablation(lvquan19.get_config("c").to_dict(), 5)
    small = plan_ablation(acdc.get_config("small").to_dict(), 5)
    config = small.config_of(Job("c", 0))
    assert config["segmentation"]["network"]["width"] == 0.375
    assert config["segmentation"]["loss"]["dice"] == 0


def test_a_row_that_changes_what_there_is_not():
    config = phantom.get_config().to_dict()
    config["rows"]["c"]["change"] = {"segmentation": {"nonsense": 1}}
    with pytest.raises(InputError, match=r"segmentation\.nonsense: there is no such field"):
        plan_ablation(config, 2)


def test_a_reference_that_is_no_row():
    config = phantom.get_config().to_dict()
    config["table"]["reference"] = "best"
    with pytest.raises(InputError, match="'best'; choose one of a, b"):
        plan_ablation(config, 2)


def test_cross_validation_is_one_row():
    made = plan_cross_validation(acdc.get_config("small").to_dict(), 5)
    assert [str(job) for job in made.jobs()] == [f"row i, fold {fold}" for fold in range(5)]
    assert made.rows["i"].title == "BLP+FOA+CSD"
    assert made.config_of(Job("i", 1))["segmentation"]["network"]["width"] == 0.375
    row = plan_cross_validation(lvquan19.get_config("c").to_dict(), 5)
    assert (list(row.rows), row.reference) == (["c"], "c")


def test_the_papers_numbers_stand_in_the_rows():
    rows = plan_ablation(lvquan19.get_config().to_dict(), 5).rows
    assert rows["a"].paper == {"dc": 0.842, "hd95_mm": 3.186, "bdc": 0.269}
    assert rows["f"].paper == {}
    assert plan_ablation(mmwhs2017.get_config().to_dict(), 5).rows["i"].paper == {"dc": 0.851}


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "config.seed was 0 and is 3"),
        ({"segmentation.train.epochs": 99}, "config.segmentation.train.epochs was 8 and is 99"),
        ({"rows.c.change": {"localization": {"enabled": False}}}, "row c was"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(tmp_path, change, message):
    save_plan(plan(), tmp_path, [])
    config = phantom.get_config()
    for name, value in change.items():
        *parents, field = name.split(".")
        place = config
        for parent in parents:
            place = place[parent]
        place[field] = value
    with pytest.raises(InputError, match=message):
        save_plan(plan_ablation(config.to_dict(), 3), tmp_path, [])
    with pytest.raises(InputError, match="folds was"):
        save_plan(plan_ablation(phantom.get_config().to_dict(), 4), tmp_path, [])


def test_the_place_of_the_data_may_differ_between_machines(tmp_path):
    config = acdc.get_config().to_dict()
    save_plan(plan_ablation(config, 5), tmp_path, [])
    config["data"]["root"] = "/elsewhere"
    save_plan(plan_ablation(config, 5), tmp_path, [])


def test_a_single_run_is_no_sweep(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds a single run"):
        save_plan(plan(), tmp_path, [])


def test_nested_and_dotted_are_inverse():
    flat = {"a.b.c": 1, "a.b.d": (1, 2), "e": None}
    assert dotted(nested(flat)) == flat
    assert nested(flat) == {"a": {"b": {"c": 1, "d": (1, 2)}}, "e": None}
