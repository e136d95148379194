"""What a data set lists before it loads anything."""

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
# Windows cannot have files of these names, whatever their ending.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


@dataclasses.dataclass(frozen=True)
class StudyRef:
    """A study that can be loaded: enough to make folds from, without its voxels.

    Attributes:
        patient: id of the patient, as in the study.
        case: unique id of the study, safe as a file name.
        group: clinical group, where the data set knows one.
        load: reads the study; raises InputError where its files cannot be used.
        load_voxels: reads what `load` has as voxels, without the labels; None for studies that are made, not read.
        load_grid: reads the header alone; None where only loading the study tells its grid.
        source: of input to predict on, the file or folder as the user named it, or relative to the named folder.
    """

    patient: str
    case: str
    group: str | None
    load: Callable[[], Study]
    load_voxels: Callable[[], np.ndarray] | None = None
    load_grid: Callable[[], Grid] | None = None
    source: str = ""


def grid_of(ref: StudyRef) -> Grid:
    """The grid of a study, from its header where that is enough."""
    if ref.load_grid is not None:
        return ref.load_grid()
    study = ref.load()
    frames, slices, rows, columns = study.voxels.shape
    return Grid((frames, slices, rows, columns), study.spacing_mm)


def kept_in_memory(refs: Iterable[StudyRef], most_bytes: int = 2 * 2**30) -> list[StudyRef]:
    """The same studies, each read or made only once as long as what was read stays below `most_bytes`."""
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
    """The data set's folder, once it is there.

    Raises:
        InputError: "missing-root" where there is no such folder.
    """
    root = Path(root)
    if not root.exists():
        raise InputError("missing-root", f"{root}: no such folder; pass the folder that the data set was unpacked to")
    if not root.is_dir():
        raise InputError("missing-root", f"{root}: not a folder; pass the folder that the data set was unpacked to")
    return root


def empty_root(root: Path, looked_for: str) -> InputError:
    """The error of a folder that holds nothing of the data set."""
    return InputError("empty-root", f"{root}: found none of {looked_for}; pass the folder that holds them")


def raise_problems(root: Path, problems: Sequence[str]) -> None:
    """Raises one InputError "incomplete" that names every problem of a data set, if there are any."""
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("incomplete", f"{root}: {count} to correct:\n{listed}")


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in order of name (2 before 10), without hidden ones: macOS leaves `._x` beside x."""
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
    """Sorts patient2 before patient10."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def safe_case(stem: str, taken: set[str]) -> str:
    """A case id made from a name, safe as a file name on every file system, and not yet in `taken`.

    Letters, digits and accents of every script stay (in Unicode's composed form, NFC), and so do `.`, `_` and `-`.
    Everything else becomes `_`: spaces, control characters, `/`, and bytes that are not UTF-8. A name in which
    nothing else is left gets a checksum of itself, so that the id depends on this name alone. Only a true clash
    with an id in `taken` adds a number.

    Args:
        stem: the name of a file or folder.
        taken: ids so far, case-folded, because some file systems do not tell case apart; the new id is added.
    """
    composed = unicodedata.normalize("NFC", stem)
    kept = "".join(character if _is_kept(character) else " " for character in composed)
    base = "_".join(kept.split()).strip("._")
    # In bytes, because that is what file systems limit; the endings of files still have to fit.
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
