"""The report's clinical indices and its account of confidence and verdicts, of the main row."""

import functools
import math
from collections.abc import Callable, Iterator

from foanet_jax.measures.indices.compare import score_pairs
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.measures.quality.finding import LOW_DICE
from foanet_jax.measures.quality.table import summarise_quality
from foanet_jax.measures.sizes import Size
from foanet_jax.pages import drawing
from foanet_jax.pages.report.results import RowResult, SweepResult
from foanet_jax.pages.report.table import Cell, Number, Table, table_of

# Areas and volumes of single studies have pictures of their own, from sizes.csv.
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
    """The tables "indices" and "quality", each where the main row's runs have what it needs."""
    tables = []
    row = result.main_row if result.rows else None
    if row is not None and row.indices:
        tables.append(_index_table(result, row))
    if row is not None and row.quality:
        tables.append(_quality_table(result, row))
    return tables


def clinical_figures(row: RowResult) -> Iterator[tuple[str, str, str, Callable[..., None]]]:
    """Name, title, caption and drawing function, which takes `path`, of each figure."""
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
                "A beat a dot; a mean difference near 0 and narrow limits of agreement (mean ± 1.96 sd) are what to "
                "look for.",
                functools.partial(drawing.draw_agreement, sizes, title=f"{name} · {row.title}", each="beat"),
            )
    rows = [found for found in row.quality if found.class_name == FOREGROUND]
    if rows:
        yield (
            "confidence",
            "Confidence and Dice",
            "Whether the network knows what it does not know: marks should rise to the right, bad studies, below the "
            "dashed line, should not be called good, and the ROC curve should leave the diagonal to the top left.",
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
            "Over all frames and slices of all patients together, as LVQuan scores; volumes, mass and ejection "
            "fraction once a beat. Units are in the names; the phase's MAE is its error rate.",
            "Bias ± sd: of prediction less truth, sd with n − 1.",
            "Missing: the truth could be measured and the prediction not; in no other column.",
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
        f"Bad: Dice below {LOW_DICE:g}. ρ: of confidence and Dice. AUC: of finding the bad by their low confidence.",
        f"Verdicts, by the foreground's Dice: {verdicts}.",
    ]
    if "agreement" in found:
        several = found["agreement"]
        notes.append(
            f"Agreement of views over {several['n']} studies: ρ {several['spearman']:.3f}, AUC {several['auc']:.3f}."
        )
    if expected["n"]:
        notes.append(f"The expected Dice is off by {expected['mae']:.3f} in the mean ({expected['n']} studies).")
    return table_of(
        name="quality",
        title=f"{result.title}: what confidence and verdict were worth, {row.title}",
        columns=columns,
        rows=rows,
        notes=tuple(notes),
    )
