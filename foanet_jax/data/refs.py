"""References to studies, which a data set lists before it loads anything."""

import dataclasses
import functools
import glob
import os
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.study import Grid, Study
from foanet_jax.system.errors import InputError

_LONGEST_CASE = 200  # bytes
# Windows does not allow files with these names, whatever their suffix.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


@dataclasses.dataclass(frozen=True)
class StudyRef:
    """A study that can be loaded. It has what is needed to make folds, but no voxels.

    Attributes:
        patient: id of the patient, as in the study.
        case: unique id of the study, safe as a file name.
        group: clinical group; None if the data set does not give one.
        load: reads the study; raises InputError if its files cannot be used.
        load_voxels: reads only the voxels, without the labels; None for studies that are computed, not read.
        load_grid: reads only the header; None if the grid is known only after loading.
        source: for input of a prediction, the file or folder as the user named it, or relative to the named folder.
    """

    patient: str
    case: str
    group: str | None
    load: Callable[[], Study]
    load_voxels: Callable[[], np.ndarray] | None = None
    load_grid: Callable[[], Grid] | None = None
    source: str = ""


def grid_of(ref: StudyRef) -> Grid:
    """Returns the grid of a study, from its header if that is enough."""
    if ref.load_grid is not None:
        return ref.load_grid()
    study = ref.load()
    frames, slices, rows, columns = study.voxels.shape
    return Grid((frames, slices, rows, columns), study.spacing_mm)


def kept_in_memory(refs: Iterable[StudyRef], most_bytes: int = 2 * 2**30) -> list[StudyRef]:
    """Returns the same studies. Each is read or computed only once, while all of them need less than `most_bytes`."""
    kept: dict[str, Study] = {}

    def once(ref: StudyRef) -> Study:
        if ref.case in kept:
            return kept[ref.case]
        study = ref.load()
        held = sum(other.voxels.nbytes for other in kept.values())
        if held + study.voxels.nbytes <= most_bytes:
            kept[ref.case] = study
        return study

    return [dataclasses.replace(ref, load=functools.partial(once, ref)) for ref in refs]


def require_root(root: str | Path) -> Path:
    """Returns the folder of the data set if it exists.

    Raises:
        InputError: "missing-root" if there is no such folder.
    """
    root = Path(root)
    if not root.exists():
        raise InputError("missing-root", f"{root}: no such folder; name the folder to which the data set was unpacked")
    if not root.is_dir():
        raise InputError("missing-root", f"{root}: not a folder; name the folder to which the data set was unpacked")
    return root


def empty_root(root: Path, looked_for: str) -> InputError:
    """Returns the error for a folder that contains nothing of the data set."""
    return InputError("empty-root", f"{root}: contains none of {looked_for}; name the folder that contains them")


def raise_problems(root: Path, problems: Sequence[str]) -> None:
    """Raises one InputError "incomplete" that names every problem of a data set, if there are any."""
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("incomplete", f"{root}: {count} to correct:\n{listed}")


def visible(paths: Iterable[Path]) -> list[Path]:
    """Returns the paths sorted by name (2 before 10), without hidden files such as `._x`, which macOS makes for x."""
    return sorted((path for path in paths if not path.name.startswith(".")), key=lambda path: natural_key(path.name))


def existing(path: Path) -> list[Path]:
    """Returns the path itself, or the files and folders that match it as a pattern.

    Raises:
        InputError: "missing-file" if there are none.
    """
    if os.path.lexists(path):
        if not path.exists():
            raise InputError("missing-file", f"{path}: a link to a file that is not there; check the path")
        return [path]
    if glob.has_magic(str(path)):
        matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True), key=natural_key)]
        matches = [match for match in matches if match.exists()]
        if matches:
            return matches
        raise InputError("missing-file", f"{path}: no file or folder fits this pattern; check it")
    raise InputError("missing-file", f"{path}: no such file or folder; check the path")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Returns a key that sorts patient2 before patient10."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def safe_case(stem: str, taken: set[str]) -> str:
    """Makes a case id from a name. It is safe as a file name on every file system, and it is not in `taken`.

    Letters, digits and accents of every script are kept (in Unicode's composed form, NFC), and so are `.`, `_` and `-`.
    Everything else becomes `_`: spaces, control characters, `/`, and bytes that are not UTF-8. If nothing of the name
    is left, the id is a checksum of the name, so that it depends only on this name. If the id is in `taken`, a number
    is added.

    Args:
        stem: the name of a file or folder.
        taken: the ids so far, case-folded, because some file systems ignore case. The new id is added.
    """
    composed = unicodedata.normalize("NFC", stem)
    kept = "".join(character if _is_kept(character) else " " for character in composed)
    base = "_".join(kept.split()).strip("._")
    # The limit is in bytes, as in file systems. It leaves room for the suffixes of files.
    base = base.encode()[:_LONGEST_CASE].decode(errors="ignore").strip("._")
    if not base:
        checksum = zlib.crc32(stem.encode("utf-8", errors="surrogatepass"))
        base = f"study-{checksum:08x}"
    elif base.partition(".")[0].upper() in _RESERVED:
        base = f"_{base}"
    case, count = base, 1
    while _folded(case) in taken:
        count += 1
        case = f"{base}-{count}"
    taken.add(_folded(case))
    return case


def _is_kept(character: str) -> bool:
    category = unicodedata.category(character)
    return character in "._-" or category[0] in "LM" or category == "Nd"


def _folded(case: str) -> str:
    return unicodedata.normalize("NFC", case.casefold())
