"""The report's tables and figures of clinical indices, confidence and verdicts, for the main row."""

import functools
import math
from collections.abc import Callable, Iterator

from foanet_jax.measures.indices.compare import score_pairs
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.measures.quality.table import summarise_quality
from foanet_jax.measures.quality.verdict import LOW_DICE
from foanet_jax.measures.sizes import Size
from foanet_jax.pages import drawing
from foanet_jax.pages.report.results import RowResult, SweepResult
from foanet_jax.pages.report.table import Cell, Number, Table, table_of

# The indices of a heartbeat with a Bland–Altman plot. The sizes in each frame, from sizes.csv, have their own plots.
_AGREEMENTS = {
    "lv_edv_ml": ("LV end-diastolic volume", "ml"),
    "lv_esv_ml": ("LV end-systolic volume", "ml"),
    "lv_ef_percent": ("LV ejection fraction", "%"),
    "lv_mass_g": ("LV mass", "g"),
    "rv_edv_ml": ("RV end-diastolic volume", "ml"),
    "rv_esv_ml": ("RV end-systolic volume", "ml"),
    "rv_ef_percent": ("RV ejection fraction", "%"),
}


def clinical_tables(result: SweepResult) -> list[Table]:
    """Returns the tables "indices" and "quality", each only if the runs of the main row have its data."""
    tables = []
    row = result.main_row if result.rows else None
    if row is not None and row.indices:
        tables.append(_index_table(result, row))
    if row is not None and row.quality:
        tables.append(_quality_table(result, row))
    return tables


def clinical_figures(row: RowResult) -> Iterator[tuple[str, str, str, Callable[..., None]]]:
    """Yields name, title, caption and drawing function of each figure. The function takes `path`."""
    for index, (name, unit) in _AGREEMENTS.items():
        sizes = [
            Size(pair.patient, pair.case, 0, name, unit, pair.prediction, pair.truth)
            for pair in row.indices
            if pair.index == index and math.isfinite(pair.prediction) and math.isfinite(pair.truth)
        ]
        if len(sizes) > 1:
            yield (
                f"agreement_{index}",
                f"Predicted and true {name}",
                "Each dot is one heartbeat. A good result has a mean difference near 0 and narrow limits of agreement "
                "(mean ± 1.96 sd).",
                functools.partial(drawing.draw_agreement, sizes, title=f"{name} · {row.title}", each="beat"),
            )
    rows = [found for found in row.quality if found.class_name == FOREGROUND]
    if rows:
        yield (
            "confidence",
            "Confidence and Dice",
            "Does a low confidence show that a segmentation is bad? If so, the marks rise to the right, bad "
            "studies (below the dashed line) are not called good, and the ROC curve is far above the diagonal.",
            functools.partial(drawing.draw_confidence, rows, low_dice=LOW_DICE, title=f"Confidence · {row.title}"),
        )


def _index_table(result: SweepResult, row: RowResult) -> Table:
    columns = {
        "index": "index",
        "n": "n",
        "mae": "MAE",
        "bias": "bias",
        "sd": "sd",
        "pearson": "r",
        "missing": "missing",
    }
    scores = score_pairs(row.indices)
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            score.n,
            Number(score.mae, ".2f"),
            Number(score.bias, "+.2f"),
            Number(score.sd, ".2f"),
            Number(score.pearson),
            score.missing,
        )
        for name, score in scores.items()
    ]
    return table_of(
        name="indices",
        title=f"{result.title}: clinical indices, {row.title}",
        columns=columns,
        rows=rows,
        notes=(
            "All frames and slices of all patients are pooled, as in the LVQuan challenge. Volumes, mass and ejection "
            "fraction count once for each heartbeat. The names contain the units. The MAE of the phase is its error "
            "rate.",
            "Bias ± sd: of the differences prediction − truth; sd with n − 1.",
            "Missing: the truth could be measured, but not the prediction. These cases are in no other column.",
        ),
    )


def _quality_table(result: SweepResult, row: RowResult) -> Table:
    columns = {"class": "class", "n": "studies", "bad": "bad", "spearman": "Spearman's ρ", "auc": "AUC"}
    found = summarise_quality(row.quality)
    rows: list[tuple[Cell, ...]] = [
        (name, values["n"], values["bad"], Number(values["spearman"]), Number(values["auc"]))
        for name, values in found["classes"].items()
    ]
    verdicts = "; ".join(
        f"{name}: {values['n']}" + (f", mean Dice {values['dice']:.3f}, {values['bad']} bad" if values["n"] else "")
        for name, values in found["verdicts"].items()
    )
    expected = found["expected_mae"]
    notes = [
        f"Bad: Dice below {LOW_DICE:g}. ρ: correlation of confidence and Dice. AUC: area under the ROC curve for "
        "finding bad studies by their low confidence.",
        f"Verdicts, with the Dice of the foreground: {verdicts}.",
    ]
    if "agreement" in found:
        several = found["agreement"]
        notes.append(
            f"Agreement of the views, {several['n']} studies: ρ {several['spearman']:.3f}, AUC {several['auc']:.3f}."
        )
    if expected["n"]:
        notes.append(f"Mean absolute error of the expected Dice: {expected['mae']:.3f} ({expected['n']} studies).")
    return table_of(
        name="quality",
        title=f"{result.title}: how well confidence and verdict predict the Dice, {row.title}",
        columns=columns,
        rows=rows,
        notes=tuple(notes),
    )
