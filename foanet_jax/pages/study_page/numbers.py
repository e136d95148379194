"""The numbers of one study, as key numbers and as tables of text."""

import math
import re
from collections.abc import Sequence

import numpy as np

from foanet_jax.measures.indices.counted import left_out_flags
from foanet_jax.measures.indices.short_axis import DIMENSIONS, SECTORS, WALLS
from foanet_jax.measures.indices.study import volume_column
from foanet_jax.pages.study_page.counting import mark
from foanet_jax.pages.study_page.pictures import thickness_curves, volume_curves
from foanet_jax.pages.study_page.result import StudyResult

# What the numbers of `indices.study.headline` are called on the page.
NAMES = {
    "lv_ef_percent": "LV ejection fraction",
    "lv_edv_ml": "LV end-diastolic volume",
    "lv_esv_ml": "LV end-systolic volume",
    "lv_sv_ml": "LV stroke volume",
    "lv_mass_g": "LV mass",
    "rv_ef_percent": "RV ejection fraction",
    "rv_edv_ml": "RV end-diastolic volume",
    "rv_esv_ml": "RV end-systolic volume",
    "rv_sv_ml": "RV stroke volume",
    "cavity_area_max_mm2": "Cavity area, largest",
    "cavity_area_min_mm2": "Cavity area, smallest",
    "wall_at_max_mm": "Mean wall thickness, end diastole",
}


def name_of(number: str, classes: Sequence[str]) -> str:
    """Returns what a number of `indices.study.headline` is called on the page.

    Args:
        number: its name in tables, such as "lv_ef_percent" or "cavity_ml".
        classes: names by index, background first.
    """
    volumes = {volume_column(name): f"Volume of {name}" for name in classes[1:]}
    return NAMES.get(number) or volumes.get(number, number)


def key_numbers(result: StudyResult) -> list[tuple[str, str, str]]:
    """Returns label, value and unit of the key numbers. The unit is followed by the codes of findings that spoil them.

    They are volumes, ejection fractions and mass of a short-axis cine, the volumes of the structures of a single stack
    or whole heart, or the areas and wall thickness of single slices.
    """
    ed, es = result.end_frames
    if result.ventricle is not None and len(result.mask) > 1:
        left, right = result.ventricle.left, result.ventricle.right
        tiles = [
            (NAMES["lv_ef_percent"], left.ef_percent, "%"),
            (NAMES["lv_edv_ml"], left.edv_ml, "ml"),
            (NAMES["lv_esv_ml"], left.esv_ml, "ml"),
            (NAMES["lv_sv_ml"], left.sv_ml, "ml"),
            (NAMES["lv_mass_g"], result.ventricle.mass_g, "g, at end diastole"),
        ]
        if np.isfinite(right.volumes_ml).any():
            tiles += [
                (NAMES["rv_ef_percent"], right.ef_percent, "%"),
                (NAMES["rv_edv_ml"], right.edv_ml, "ml"),
                (NAMES["rv_esv_ml"], right.esv_ml, "ml"),
            ]
    elif result.volumes_ml:
        tiles = [(f"Volume of {name}", float(known_first(curve)), "ml") for name, curve in result.volumes_ml.items()]
        if result.ventricle is not None:
            tiles.append(("LV mass", result.ventricle.mass_g, "g, in this frame"))
    elif result.indices is not None and ed is not None:
        tiles = _slice_tiles(result, ed, es)
    else:
        tiles = []
    doubts = {name_of(name, result.study.classes): codes for name, codes in result.affected.items()}
    return [
        (label, number(value, unit), f"{unit}; affected by {', '.join(doubts[label])}" if label in doubts else unit)
        for label, value, unit in tiles
    ]


def _slice_tiles(result: StudyResult, ed: int, es: int | None) -> list[tuple[str, float, str]]:
    assert result.indices is not None
    cavity = result.indices.cavity_area_mm2.sum(1)
    wall = np.array([np.nan if np.isnan(row).any() else row.mean() for row in result.indices.rwt_mm[:, 0]])
    if len(result.mask) < 2:
        return [
            ("Cavity area", float(cavity[ed]), "mm²"),
            ("Myocardium area", float(result.indices.myocardium_area_mm2[ed, 0]), "mm²"),
            ("Mean wall thickness", float(wall[ed]), "mm"),
        ]
    tiles = [
        (NAMES["cavity_area_max_mm2"], float(cavity[ed]), f"mm², frame {ed + 1}"),
        ("Myocardium area", float(result.indices.myocardium_area_mm2[ed, 0]), f"mm², frame {ed + 1}"),
        (NAMES["wall_at_max_mm"], float(wall[ed]), f"mm, frame {ed + 1}"),
    ]
    if es is not None:
        tiles[1:1] = [
            (NAMES["cavity_area_min_mm2"], float(cavity[es]), f"mm², frame {es + 1}"),
            ("Fractional area change", float(100 * (1 - cavity[es] / cavity[ed])), "%"),
        ]
        tiles.append(("Mean wall thickness, end systole", float(wall[es]), f"mm, frame {es + 1}"))
    return tiles


def frame_table(result: StudyResult) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows, one for each frame: volumes and wall thicknesses of a stack, all indices of a slice."""
    columns: dict[str, np.ndarray] = {f"{name} (ml)": curve for name, curve in volume_curves(result).items()}
    if result.indices is not None and result.mask.shape[1] == 1:
        columns |= slice_columns(result, 0)
    elif result.indices is not None:
        columns |= {f"{name} wall (mm)": curve for name, curve in thickness_curves(result).items()}
    ed, es = result.end_frames
    marks = {ed: " ED", es: " ES"}
    seconds = result.frame_seconds
    timed = {"Time (ms)": 1000 * seconds * np.arange(len(result.mask))} if seconds is not None else {}
    shown = {**timed, **columns} if columns else {}
    rows = [
        [f"{t + 1}{marks.get(t, '')}", *(number(float(column[t]), heading) for heading, column in shown.items())]
        for t in range(len(result.mask))
    ]
    return ["Frame", *shown], rows


def slice_table(result: StudyResult, frame: int) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows, one for each slice of a frame: areas, dimensions, wall thicknesses and remarks."""
    assert result.indices is not None
    rows = []
    header: list[str] = []
    for z in range(result.mask.shape[1]):
        columns = slice_columns(result, z)
        header = ["Slice", *columns, "Remark"]
        values = [number(float(column[frame]), heading) for heading, column in columns.items()]
        remarks = [str(result.indices.flags[frame, z]), *left_out_flags(result.count, frame, z)]
        rows.append([f"{z + 1} {mark(result, frame, z)}".strip(), *values, "; ".join(filter(None, remarks))])
    return header, rows


def slice_columns(result: StudyResult, z: int) -> dict[str, np.ndarray]:
    """Returns the indices of one slice over the frames, each (T,), by heading with unit."""
    indices = result.indices
    assert indices is not None
    names = WALLS if result.oriented else {name: f"{(at + 30) % 360}°" for name, at in SECTORS.items()}
    opposite = {pair: f"{names[one]}–{names[other]}" for pair, (one, other) in DIMENSIONS.items()}
    return {
        "cavity (mm²)": indices.cavity_area_mm2[:, z],
        "myocardium (mm²)": indices.myocardium_area_mm2[:, z],
        **{f"diameter {opposite[pair]} (mm)": indices.dimensions_mm[:, z, k] for k, pair in enumerate(DIMENSIONS)},
        **{f"wall {names[name]} (mm)": indices.rwt_mm[:, z, k] for k, name in enumerate(SECTORS)},
    }


def known_first(values: Sequence[float] | np.ndarray) -> float:
    """Returns the first value that is not NaN; NaN if there is none."""
    return next((float(value) for value in values if math.isfinite(value)), math.nan)


def number(value: float, unit: str) -> str:
    """Returns a number as text, rounded as it is known; a dash if it is not known.

    Lengths in mm, such as 6.4, have one decimal. Percentages, volumes, masses, areas and times are whole numbers, such
    as 31 and 1,234, because a contour that moves by half a pixel changes them by more than one. Below 10, they have one
    decimal too. The tables in the CSV files are not rounded so.

    Args:
        value: the number.
        unit: a text that contains the unit, such as "ml" or "LV cavity (ml)".
    """
    if not math.isfinite(value):
        return "–"
    length = re.search(r"\bmm\b(?!²)", unit) is not None
    return f"{value:,.1f}" if length or (0 < abs(value) < 9.95 and unit != "%") else f"{value:,.0f}"
