"""The report of an installation: everything a bug report needs, and nobody's name."""

import hashlib
import re

import jax
import numpy
import pytest

import foanet_jax
from foanet_jax.data.study import ACDC_CLASSES
from foanet_jax.jobs import doctor
from foanet_jax.training import weights
from foanet_jax.training.weights import DEFAULT


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of somebody called ann, with a cache in it."""
    home = tmp_path / "ann"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(doctor.getpass, "getuser", lambda: "ann")
    monkeypatch.delenv(doctor.CACHE, raising=False)
    return home


def sections(text):
    """The rows of each section by its title."""
    found = {}
    for part in text.split("\n\n"):
        title, *rows = part.splitlines()
        found[title] = dict(re.split(r" {1,}", row.strip(), maxsplit=1) if " " in row.strip() else (row.strip(), "")
                            for row in rows)  # fmt: skip
    return found


def test_the_report_has_versions_devices_cache_and_weights(home):
    found = sections(doctor.report_installation())
    assert found["Program"]["foanet-jax"] == foanet_jax.__version__
    assert found["Packages"]["jax"] == jax.__version__
    assert found["Packages"]["numpy"] == numpy.__version__
    assert "highdicom" in found["Optional packages"]
    assert list(found["Devices"]) == [str(device) for device in jax.devices()]
    assert found["Cache of compiled programs"] == {
        "folder": "~/.cache/foanet_jax",
        "writable": "yes",
    }
    if DEFAULT.is_file():
        digest = hashlib.sha256(DEFAULT.read_bytes()).hexdigest()
        assert found["Weights of this package"]["SHA-256"] == f"{digest[:12]}…"
        assert found["Weights of this package"]["classes"] == ", ".join(ACDC_CLASSES[1:])


def test_nobody_is_named(home, monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={home}/dump --other=/scratch/ann/x --third=/scratch/anna")
    text = doctor.report_installation()
    assert str(home) not in text
    assert "--xla_dump_to=~/dump --other=/scratch/USER/x --third=/scratch/anna" in text
    assert not re.search(r"/ann\b", text)


def test_an_installation_without_weights_or_devices_is_reported_too(home, monkeypatch, tmp_path):
    def none():
        raise RuntimeError("Unable to initialize backend 'cuda'\nmore")

    monkeypatch.setattr(weights, "DEFAULT", tmp_path / "missing.safetensors")
    monkeypatch.setattr(jax, "devices", none)
    found = sections(doctor.report_installation())
    assert found["Devices"] == {"none": "RuntimeError: Unable to initialize backend 'cuda'"}
    assert "this installation has no weights" in found["Weights of this package"]["none"]


def test_the_processor_and_its_vector_sets(monkeypatch, tmp_path):
    text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx avx2 avx512f\n\nprocessor\t: 1\n"
    monkeypatch.setattr(doctor.Path, "read_text", lambda *_, **__: text)
    assert doctor._processor() == ("Some CPU @ 2 GHz", ["avx", "avx2", "avx512f"])


def test_the_memory_of_a_container_is_its_limit(monkeypatch):
    gib = 2**30
    texts = {
        "/proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {32 * 2**20} kB\n",
        "/sys/fs/cgroup/memory.max": f"{8 * gib}\n",
        "/sys/fs/cgroup/memory.current": f"{3 * gib}\n",
    }
    monkeypatch.setattr(doctor.Path, "read_text", lambda path, **_: texts[str(path)])
    assert doctor._memory() == (5 * gib, 8 * gib)
    texts["/sys/fs/cgroup/memory.max"] = "max\n"
    assert doctor._memory() == (32 * gib, 64 * gib)
