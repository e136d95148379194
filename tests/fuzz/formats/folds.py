"""The file of folds."""

import json
import tempfile
from pathlib import Path

from foanet_jax.data.folds import Folds, load_folds, make_folds, save_folds
from foanet_jax.data.refs import StudyRef
from foanet_jax.data.study import Study
from tests.fuzz.seeds import Seed, Target


def _no_study() -> Study:
    raise AssertionError("folds are read without loading a study")


_REFS = [StudyRef(f"p{i}", f"p{i}", "ab"[i % 2], _no_study) for i in range(6)]


def folds_seeds() -> list[Seed]:
    """Three folds of six patients."""
    with tempfile.TemporaryDirectory() as folder:
        save_folds(make_folds(_REFS, count=3), Path(folder) / "folds.json")
        content = json.loads((Path(folder) / "folds.json").read_bytes())
    files = {"folds.json": json.dumps(content).encode()}
    return [Seed(files, [Target("folds.json", text=True)], _read, _check)]


def _read(folder: Path) -> Folds:
    return load_folds(folder / "folds.json", _REFS)


def _check(folds: Folds, folder: Path) -> None:
    patients = {ref.patient for ref in _REFS}
    assert type(folds.seed) is int
    assert 0 <= folds.validation_fraction < 1
    for fold in folds.folds:
        parts = [*fold.train, *fold.validation, *fold.test]
        assert len(parts) == len(set(parts))
        assert set(parts) == patients
        assert fold.train
        assert fold.test
    # What was read can be written and read again.
    save_folds(folds, folder / "again.json")
    assert load_folds(folder / "again.json", _REFS) == folds
