"""Indices as CSV files, with units in the names of the columns. Each file is written whole or not at all."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foanet_jax.measures.indices.counted import left_out_flags
from foanet_jax.measures.indices.counting import SliceCount
from foanet_jax.measures.indices.short_axis import DIMENSIONS, KNOWN, SECTORS, UNKNOWN, LvIndices
from foanet_jax.measures.indices.study import volume_column
from foanet_jax.measures.indices.ventricle import VentricleIndices, chamber
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError
from foanet_jax.system.escaping import from_cell, to_cell


def write_lv_indices(
    indices: Mapping[str, LvIndices],
    path: str | os.PathLike[str],
    *,
    frame_seconds: float | None = None,
    counts: Mapping[str, SliceCount] | None = None,
) -> None:
    """Writes a row for each slice of each frame of each case: case, frame, slice, counts, the indices, flags.

    The column `counts` is 1 if the left ventricle in this slice is in the volumes of its frame, and 0 if it was left
    out, or if there is none.

    Args:
        indices: the indices by case.
        path: the file to write.
        frame_seconds: time between frames in s, for a column `time_ms`; None: no such column.
        counts: by case, which slices count; the flags then say why others do not.

    Raises:
        InputError: there are no indices.
    """
    rows = []
    for case, measured in indices.items():
        columns = measured.columns()
        columns["phase"] = np.broadcast_to(columns["phase"][:, None], measured.flags.shape)
        for t, z in np.ndindex(measured.flags.shape):
            values = {name: float(column[t, z]) for name, column in columns.items()}
            shown = measured.cavity_area_mm2[t, z] + measured.myocardium_area_mm2[t, z] > 0
            place = {"case": to_cell(case), "frame": t, **_time(t, frame_seconds), "slice": z, "counts": int(shown)}
            walls = {"wall_directions": measured.wall_directions}
            flags = [str(measured.flags[t, z]), *left_out_flags((counts or {}).get(case), t, z)]
            rows.append({**place, **values, **walls, "flags": "; ".join(filter(None, flags))})
    _write(rows, Path(path))


def read_lv_indices(path: str | os.PathLike[str]) -> dict[str, LvIndices]:
    """Reads what `write_lv_indices` wrote, by case. The rows may be in any order.

    Raises:
        InputError: the file is not such a table, or a row of a case is missing or occurs twice.
    """
    try:
        by_case: dict[str, list[dict[str, str]]] = {}
        for row in _read(path):
            by_case.setdefault(from_cell(row["case"]), []).append(row)
        return {case: _lv_indices(rows) for case, rows in by_case.items()}
    except (KeyError, ValueError, csv.Error) as error:
        raise _not_a_table(path, "LV indices", error) from None


def write_ventricles(indices: Mapping[str, VentricleIndices], path: str | os.PathLike[str]) -> None:
    """Writes a row for each case: case, frames ed and es, the indices, flags, and both volume–time curves.

    A curve is one column, lv_curve_ml or rv_curve_ml, with the volumes of the frames separated by spaces.

    Raises:
        InputError: there are no indices.
    """
    rows = [
        {
            "case": to_cell(case),
            "ed": "" if measured.ed is None else measured.ed,
            "es": "" if measured.es is None else measured.es,
            **measured.columns(),
            "flags": measured.flags,
            "lv_curve_ml": " ".join(map(str, measured.left.volumes_ml.tolist())),
            "rv_curve_ml": " ".join(map(str, measured.right.volumes_ml.tolist())),
        }
        for case, measured in indices.items()
    ]
    _write(rows, Path(path))


def read_ventricles(path: str | os.PathLike[str]) -> dict[str, VentricleIndices]:
    """Reads what `write_ventricles` wrote, by case. EDV, ESV, SV and EF are computed from the curves and two frames.

    Raises:
        InputError: the file is not such a table.
    """
    try:
        return {from_cell(row["case"]): _ventricle(row) for row in _read(path)}
    except (IndexError, KeyError, ValueError, csv.Error) as error:
        raise _not_a_table(path, "ventricular indices", error) from None


def write_volumes(
    volumes_ml: Mapping[str, np.ndarray], path: str | os.PathLike[str], *, frame_seconds: float | None = None
) -> None:
    """Writes a row for each frame: frame, `time_ms` if known, the volume of each class, such as "left_atrium_ml"."""
    columns = {volume_column(name): volumes for name, volumes in volumes_ml.items()}
    frames = len(next(iter(columns.values()), []))
    _write(
        [
            {"frame": t} | _time(t, frame_seconds) | {name: float(curve[t]) for name, curve in columns.items()}
            for t in range(frames)
        ],
        Path(path),
    )


def _time(frame: int, frame_seconds: float | None) -> dict[str, float]:
    """Returns the time of a frame after the first frame; empty if it is not known."""
    return {} if frame_seconds is None else {"time_ms": round(1000 * frame_seconds * frame, 3)}


def _lv_indices(rows: list[dict[str, str]]) -> LvIndices:
    rows = sorted(rows, key=lambda row: (int(row["frame"]), int(row["slice"])))
    shape = int(rows[-1]["frame"]) + 1, int(rows[-1]["slice"]) + 1
    if [(int(row["frame"]), int(row["slice"])) for row in rows] != list(np.ndindex(shape)):
        raise ValueError(f"{rows[0]['case']} has not one row for each frame and slice")

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows]).reshape(shape)

    return LvIndices(
        cavity_area_mm2=column("cavity_area_mm2"),
        myocardium_area_mm2=column("myocardium_area_mm2"),
        dimensions_mm=np.stack([column(f"dim_{name}_mm") for name in DIMENSIONS], -1),
        rwt_mm=np.stack([column(f"rwt_{name}_mm") for name in SECTORS], -1),
        phase=column("phase")[:, 0],
        flags=np.array([row["flags"] for row in rows]).reshape(shape),
        # Tables of earlier versions do not have this column.
        wall_directions=KNOWN if all(row.get("wall_directions") == KNOWN for row in rows) else UNKNOWN,
    )


def _ventricle(row: dict[str, str]) -> VentricleIndices:
    ed, es = (int(row[name]) if row[name] else None for name in ("ed", "es"))
    left, right = (np.array([float(ml) for ml in row[f"{side}_curve_ml"].split()]) for side in ("lv", "rv"))
    return VentricleIndices(
        ed=ed,
        es=es,
        left=chamber(left, ed, es),
        right=chamber(right, ed, es),
        mass_g=float(row["lv_mass_g"]),
        flags=row["flags"],
    )


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    if not rows:
        raise InputError("cases", f"{path}: no indices to write; measure at least one case")
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _read(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} has more or fewer fields than the header")
    return rows


def _not_a_table(path: str | os.PathLike[str], what: str, error: Exception) -> InputError:
    return InputError("table", f"{path}: not a table of {what} ({type(error).__name__}: {error}); write it again")
