"""Several processes: how they find each other, and that a single one is asked for nothing."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.common import common
from foanet_jax.system import distributed
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def joining(monkeypatch):
    """What JAX is asked to join; no launcher's variables."""
    for name in (*distributed.COUNTS, "JOB_COMPLETION_INDEX", "SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri"):
        monkeypatch.delenv(name, raising=False)
    asked: list[dict] = []
    monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda **options: asked.append(options))
    monkeypatch.setattr(distributed.jax.config, "update", lambda *_: None)
    return asked


@pytest.mark.parametrize("count", [None, "1", ""])
def test_a_single_process_joins_none(joining, monkeypatch, count):
    if count is not None:
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", count)
    distributed.join()
    assert joining == []


def test_options_say_where(joining):
    distributed.join("10.0.0.1:5000", 4, 3)
    (asked,) = joining
    assert asked == {
        "coordinator_address": "10.0.0.1:5000",
        "num_processes": 4,
        "process_id": 3,
        "initialization_timeout": 300,
        "heartbeat_timeout_seconds": 30,
        "shutdown_timeout_seconds": 20,
    }


@pytest.mark.parametrize(
    ("coordinator", "processes", "process"),
    [("host:1", 0, 0), ("host:1", 2, None), ("host:1", 2, 2), ("host:1", 2, -1), ("", 2, 0), ("", 2, None), ("", 0, 1)],
)
def test_options_that_do_not_fit_together_are_refused(joining, monkeypatch, coordinator, processes, process):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")  # what was told and is not heeded would be as bad
    with pytest.raises(InputError, match=f"--processes={processes} --process={process}: give each of") as caught:
        distributed.join(coordinator, processes, process)
    assert caught.value.code == "arguments"
    assert joining == []


@pytest.mark.parametrize(
    ("variables", "method"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "n[1-2]"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "8", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"}, None),
        ({"PMI_SIZE": "2"}, "mpi4py"),
        ({"JOB_COMPLETION_INDEX": "0"}, None),
    ],
    ids=["SLURM", "Open MPI", "MPI", "Kubernetes"],
)
def test_launchers_say_where(joining, monkeypatch, variables, method):
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.join()
    (asked,) = joining
    assert asked["cluster_detection_method"] == method
    assert "num_processes" not in asked
    distributed.join(processes=1)  # alone, whatever has started it
    assert len(joining) == 1


def test_without_mpi4py_mpi_is_told_to_say_where(joining, monkeypatch):
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(InputError, match="mpi4py") as caught:
        distributed.join()
    assert caught.value.code == "no-cluster"


def test_processes_that_cannot_find_each_other_are_told(joining, monkeypatch):
    def refused(**_):
        raise RuntimeError("Kubernetes API Error: 403 - Forbidden\nmore")

    monkeypatch.setattr(distributed.jax.distributed, "initialize", refused)
    with pytest.raises(InputError, match=r"did not come together \(Kubernetes API Error: 403 - Forbidden\); see docs/"):
        distributed.join("host:1", 2, 0)


def test_who_waits_long_says_for_what(joining, monkeypatch, capsys):
    said = threading.Event()
    monkeypatch.setattr(distributed, "PATIENCE_S", 0)
    write = sys.stderr.write

    def heard(text):
        write(text)
        said.set()

    monkeypatch.setattr(distributed.sys.stderr, "write", heard)
    monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda **_: said.wait(60))
    distributed.join("host:1", 2, 0)
    assert (
        capsys.readouterr().err
        == "\nwaiting for the other processes to start; without them this one ends after 300 s\n"
    )


def test_a_single_process_decides_alone():
    numbers = np.array([0.1, -0.0, np.nan])
    assert distributed.gathered(numbers).tobytes() == numbers.tobytes()
    assert distributed.gathered(numbers).shape == (1, 3)
    assert (distributed.anywhere(True), distributed.anywhere(False)) == (True, False)
    assert distributed.of_first(numbers) is numbers
    assert distributed.mine(3) == range(3)
    assert distributed.is_first()
    distributed.require_alike({"a": 1})


def test_processes_with_other_settings_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "gathered", lambda array: np.stack([array, array, array[::-1]]))
    with pytest.raises(InputError, match="process 2 was given other settings") as caught:
        distributed.require_alike({"a": 1})
    assert caught.value.code == "processes-differ"


def test_the_loss_of_another_process_is_told_from_other_errors(monkeypatch):
    gloo = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
    assert not distributed.is_lost(gloo)  # there is none
    monkeypatch.setattr(distributed, "joined", lambda: True)
    assert distributed.is_lost(gloo)
    assert not distributed.is_lost(ValueError("shapes differ"))
    assert not distributed.is_lost(InputError("x", "Gloo.nii: no such file"))
    assert not distributed.is_lost(OSError("NCCL"))


def scripts():
    """The scripts of docs/clusters.md; that of Kubernetes out of its Job."""
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    found = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (manifest,) = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    service, job = yaml.safe_load_all(manifest)
    pod = job["spec"]["template"]["spec"]
    # The first pod's name is known to the others.
    assert pod["subdomain"] == service["metadata"]["name"]
    (script,) = pod["containers"][0]["args"]
    assert f"--coordinator={job['metadata']['name']}-0.{pod['subdomain']}:" in script
    assert f"--processes={job['spec']['completions']} " in script
    return [*found, script]


def test_the_scripts_are_shell_with_options_that_there_are():
    defined = re.findall(
        r'DEFINE_\w+\(\s*"(\w+)"', (ROOT / "foanet_jax" / "jobs" / "options.py").read_text(encoding="utf-8")
    )
    fields = dotted(common("any").to_dict())
    assert len(scripts()) == 3
    for script in scripts():
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        (command,) = re.findall(r"python run\.py((?:.*\\\n)*.*)", script)
        for option in re.findall(r"--([\w.]+)", command):
            assert option in defined or option.removeprefix("config.") in fields, option
