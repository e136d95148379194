"""Links in a circle, pipes, names that are not UTF-8 and ids that are paths, in the layout of every data set."""

import json
import os
from pathlib import Path

import pytest

from foanet_jax.data.catalogue import CATALOGUES, open_catalogue, read_input
from foanet_jax.data.dicom import list_dicom
from foanet_jax.data.folds import load_folds
from foanet_jax.data.refs import StudyRef
from foanet_jax.system.errors import InputError
from tests.fuzz.formats import FORMATS

READERS = [*CATALOGUES, "dicom", "input"]


def fill(root, reader):
    """The files of the first seed for fuzzing, and the folder to list."""
    for name, content in FORMATS[{"input": "nifti.gz"}.get(reader, reader)]()[0].files.items():
        path = root / ("patient1.mat" if reader == "lvquan19" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "images" if reader == "input" else root


def load_all(reader, root):
    """The cases that can be loaded, or the code and message of what was refused."""
    list_refs = {"dicom": list_dicom, "input": read_input}.get(reader, lambda path: open_catalogue(reader, path))
    try:
        refs = list_refs(root)
        return [ref.load().case for ref in refs]
    except InputError as error:
        str(error).encode()  # Can be printed.
        return error.code, str(error)


def odd(path):
    """A path whose name is neither UTF-8 nor one line."""
    return Path(os.fsdecode(os.fsencode(path) + b"\xff\n" + os.fsencode(path.suffix)))


@pytest.mark.parametrize("reader", READERS)
def test_a_root_of_any_name(tmp_path, reader):
    assert load_all(reader, tmp_path / "none")[0] in ("missing-root", "missing-file")
    root = odd(tmp_path / "root")
    folder = fill(root, reader)
    cases = load_all(reader, folder)
    assert isinstance(cases, list)
    assert cases
    assert all(case.isascii() and "/" not in case for case in cases)
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:100])
    code, text = load_all(reader, folder)
    assert r"root\udcff" in text
    assert code != "missing-root"


@pytest.mark.parametrize("reader", READERS)
def test_a_root_that_is_a_link_in_a_circle(tmp_path, reader):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert load_all(reader, tmp_path / "circle")[0] in ("missing-root", "missing-file")


@pytest.mark.parametrize("reader", READERS)
def test_links_upwards_are_not_followed_for_ever(tmp_path, reader):
    folder = fill(tmp_path, reader)
    cases = load_all(reader, folder)
    for place in {folder, *(path for path in folder.rglob("*") if path.is_dir())}:
        (place / "up").symlink_to(tmp_path)
    came = load_all(reader, folder)
    # Among Sunnybrook's contours a folder is a patient, and has to be in the table of them.
    assert came == cases or "contourfiles/up: is not in link.csv" in came[1]


@pytest.mark.parametrize("kind", ["circle", "nowhere", "pipe", "folder or file"])
@pytest.mark.parametrize("reader", READERS)
def test_whatever_stands_in_the_place_of_a_file(tmp_path, reader, kind):
    """Each file and folder in turn is something else: nothing is waited for, and nothing ends in a traceback."""
    root = tmp_path / "root"
    folder = fill(root, reader)
    sound = load_all(reader, folder)
    for path in sorted(path for path in root.rglob("*") if path != folder):
        was_folder = path.is_dir()
        path.rename(tmp_path / "kept")
        if kind in ("circle", "nowhere"):
            path.symlink_to(path if kind == "circle" else tmp_path / "nowhere")
        elif kind == "pipe":
            os.mkfifo(path)
        elif was_folder:
            path.write_bytes(b"")
        else:
            path.mkdir()
        came = load_all(reader, folder)
        # One frame of a DICOM series less is a series too.
        assert isinstance(came, tuple) or reader == "dicom", path
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        (tmp_path / "kept").rename(path)
    assert load_all(reader, folder) == sound


@pytest.mark.parametrize("reader", READERS)
def test_names_that_are_not_utf8(tmp_path, reader):
    root = tmp_path / "root"
    folder = fill(root, reader)
    sound = load_all(reader, folder)
    for path in sorted(path for path in root.rglob("*") if path != folder):
        link = odd(path)
        link.symlink_to(path)
        came = load_all(reader, folder)
        assert came == sound or r"\udcff" in came[1], path
        link.unlink()


def test_ids_that_are_paths(tmp_path):
    """dataset.json's are in test_folder.py, link.csv's in test_sunnybrook.py: folds hold no patient of their own."""
    refs = [StudyRef(f"p{number}", f"p{number}", None, lambda: None) for number in range(3)]
    path = tmp_path / "folds.json"
    for patient in ("../p0", "/etc/passwd", "p0/../p0", "p0\0", "p0\n", "\ud800", "~", ""):
        fold = {"train": ["p1"], "validation": [], "test": ["p2", patient]}
        path.write_text(json.dumps({"seed": 0, "validation_fraction": 0, "folds": [fold]}))
        with pytest.raises(InputError) as caught:
            load_folds(path, refs)
        assert caught.value.code == "folds"
        str(caught.value).encode()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a file"):
        load_folds(path, refs)
