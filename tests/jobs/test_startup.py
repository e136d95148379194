"""The cache of compiled programs, where there is a home folder and where there is none."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from foanet_jax.jobs import startup
from foanet_jax.jobs.startup import CACHE, cache_folder, short_path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files; no folder is set in the environment, and the home does not exist."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv(CACHE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def test_the_cache_is_in_the_home_folder(temporary, tmp_path):
    (tmp_path / "home").mkdir()
    assert cache_folder() == (str(tmp_path / "home" / ".cache" / "foanet_jax"), "")


def test_the_environment_says_where_else(temporary, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "other"))
    assert cache_folder() == (str(tmp_path / "other"), "")
    assert list((tmp_path / "other").iterdir()) == []
    monkeypatch.setenv(CACHE, "gs://bucket/cache")
    assert cache_folder() == ("gs://bucket/cache", "")


def test_without_a_home_it_is_a_private_temporary_folder_that_later_runs_find(temporary, tmp_path):
    folder, note = cache_folder()
    assert folder is not None
    assert Path(folder).parent == temporary
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert note == f"no home folder: cannot be written to, so compiled programs are kept in {folder}"
    assert "\n" not in note
    assert cache_folder()[0] == folder
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_to(temporary, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".cache").write_text("a file in the place of the folder")
    folder, note = cache_folder()
    assert Path(folder or "").parent == temporary
    assert note.startswith("~/.cache/foanet_jax: cannot be written to, so compiled programs are kept in ")


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_temporary_folder_that_others_could_have_made_is_not_used(temporary, tmp_path, kind):
    """What is in the cache is run."""
    theirs = temporary / f"foanet_jax-{os.getuid()}"
    if kind == "a link":
        (tmp_path / "trap").mkdir(mode=0o700)
        theirs.symlink_to(tmp_path / "trap")
    else:
        theirs.mkdir()
        theirs.chmod(0o777)
    folder, _ = cache_folder()
    assert folder not in (None, str(theirs))
    assert stat.S_IMODE(os.stat(folder or "").st_mode) == 0o700


def test_where_nothing_can_be_written_nothing_is_kept(temporary, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(startup.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(startup.tempfile, "mkdtemp", refuse)
    assert cache_folder() == (None, "no home folder: cannot be written to, so compiled programs are not kept")


def test_a_path_is_told_without_the_home_folder(temporary, tmp_path):
    (tmp_path / "home").mkdir()
    assert short_path(tmp_path / "home" / "a" / "b") == "~/a/b"
    assert short_path(tmp_path / "a") == str(tmp_path / "a")
