"""The locks: what people write in requirements*.txt, with all that it needs, each by version and SHA-256."""

import re
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {
    "cpu": "requirements.txt",
    "cuda12": "requirements-cuda12.txt",
    "cuda13": "requirements-cuda13.txt",
    "dev": "requirements-dev.txt",
}
PYTHONS = ("3.11", "3.12", "3.13")


def asked(path):
    """The requirements of a file and of those that it names."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += asked(path.parent / text[3:])
        elif text:
            found.append(Requirement(text))
    return found


def entries(lock):
    """Each requirement of a lock with its options, as pip reads them: a line that ends with a backslash goes on."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    text = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(Requirement(line.partition("--")[0]), line.split()) for line in text.splitlines() if line.strip()]


def pinned(lock, python):
    """The version of each package that a lock installs on Linux, by name."""
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    found = [entry for entry, _ in entries(lock) if entry.marker is None or entry.marker.evaluate(environment)]
    names = [canonicalize_name(entry.name) for entry in found]
    assert len(names) == len(set(names))
    versions = {}
    for name, entry in zip(names, found, strict=True):
        (specifier,) = entry.specifier
        assert specifier.operator == "=="
        versions[name] = specifier.version
    return versions, environment


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_its_requirements_ask_for(lock, python):
    versions, environment = pinned(lock, python)
    wanted = [r for r in asked(ROOT / LOCKS[lock]) if r.marker is None or r.marker.evaluate(environment)]
    assert len(wanted) >= 15
    for requirement in wanted:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
    cuda = {"cuda12": "jax-cuda12-plugin", "cuda13": "jax-cuda13-plugin"}.get(lock)
    assert {name for name in versions if "plugin" in name and name.startswith("jax")} == ({cuda} if cuda else set())


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_agree(python):
    """What is tested, on a CPU, is what GPUs run."""
    base, _ = pinned("cpu", python)
    assert base["jax"] == base["jaxlib"]
    for lock in ("cuda12", "cuda13", "dev"):
        versions, _ = pinned(lock, python)
        assert base.items() <= versions.items(), lock


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes_and_none_an_address(lock):
    for entry, words in entries(lock):
        options = [word for word in words if word.startswith("-")]
        assert options, entry
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), entry
        assert entry.url is None
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in text
    # Comments tell who asks for a package, by name or by a file beside the folder.
    comments = {line.strip("# \n") for line in text.splitlines() if line.lstrip().startswith("#")} - {"via"}
    assert all(re.fullmatch(r"(via )?(-r requirements[\w-]*\.txt|[\w.-]+)", comment) for comment in comments)


def test_there_are_no_other_locks():
    assert {path.name for path in (ROOT / "locks").iterdir()} == {f"{lock}.txt" for lock in LOCKS}
