"""The figures of a report: Figs. 3 to 9 of the paper and more, made only from the files in the folder of the run."""

import dataclasses
import functools
import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from foanet_jax.image.boxes import crop
from foanet_jax.image.foa import foa_weights
from foanet_jax.measures.metrics import PatientScore
from foanet_jax.pages import drawing
from foanet_jax.pages.drawing.sheet import evenly
from foanet_jax.pages.drawing.tiles import plane_dice, where
from foanet_jax.pages.gallery import Plane
from foanet_jax.pages.report.clinical import clinical_figures
from foanet_jax.pages.report.results import RowResult, SweepResult

Galleries = dict[str, list[Plane]]
WORST = 10  # cases in the picture of the worst cases


@dataclasses.dataclass(frozen=True)
class FigureFile:
    """A figure that was written.

    Attributes:
        name: a short name, also of both files, such as "fig5_rows".
        title: the heading.
        caption: what the figure shows and what to look at.
        png: the file for the screen.
        pdf: the file for print.
    """

    name: str
    title: str
    caption: str
    png: Path
    pdf: Path


@dataclasses.dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    caption: str
    draw: Callable[..., None]  # takes `path`


def draw_figures(result: SweepResult, folder: Path) -> list[FigureFile]:
    """Draws every figure for which there is data.

    Figures of one row show the main row: the reference, or the first row with a finished run if the reference has none.

    Args:
        result: a sweep or a single run.
        folder: the folder for NAME.png and NAME.pdf.

    Returns:
        The figures, in the order of the paper.
    """
    drawn = []
    for figure in _figures(result):
        file = FigureFile(
            figure.name, figure.title, figure.caption, folder / f"{figure.name}.png", folder / f"{figure.name}.pdf"
        )
        figure.draw(path=file.png)
        figure.draw(path=file.pdf)
        drawn.append(file)
    return drawn


def _figures(result: SweepResult) -> Iterator[_Figure]:
    rows = [row for row in result.rows if row.runs]
    if not rows:
        return
    main = result.main_row
    galleries = {row.name: [plane for run in row.runs for plane in run.gallery()] for row in rows}
    planes = galleries[main.name]
    yield from _method(main, rows, galleries)
    yield from _comparison(result, rows, galleries)
    yield from _box_plots(result, rows)
    yield from _slices(result, main, planes)
    yield from _cases(result, main, planes)
    yield from _worst(result, main, planes)
    yield from _agreement(result, main)
    yield from (_Figure(*figure) for figure in clinical_figures(main))
    yield from _curves(result, rows)


def _method(main: RowResult, rows: Sequence[RowResult], galleries: Galleries) -> Iterator[_Figure]:
    """Figs. 3 and 4, from the main row if it has the data: a row may have no focus of attention."""
    planes = galleries[main.name] + [plane for row in rows if row is not main for plane in galleries[row.name]]
    focused = next((plane for plane in planes if plane.delta is not None), None)
    if focused is not None:
        yield _Figure(
            "fig3_focus_of_attention",
            "Focus of attention (Fig. 3)",
            "The crop is multiplied by a Gaussian that is centred on its box. It darkens similar tissue near the "
            "corners.",
            functools.partial(_draw_focus, focused),
        )
    first = next((plane for plane in planes if plane.before is not None and plane.after is not None), None)
    if first is not None:
        # Other rows may have other boxes, but all crops in a picture need the same shape.
        same = {
            (plane.frame, plane.slice_): plane
            for plane in planes
            if (plane.case, plane.box) == (first.case, first.box)
            and plane.before is not None
            and plane.after is not None
        }
        yield _Figure(
            "fig4_temporal_like",
            "Temporal-like images (Fig. 4)",
            "In the pseudo-colour images, tissue that does not move between neighbours is grey. The moving heart is "
            "coloured.",
            functools.partial(_draw_neighbours, [same[place] for place in sorted(same)]),
        )


def _draw_focus(plane: Plane, path: Path) -> None:
    box = plane.box
    cropped = crop(plane.image, box)
    centre = ((box.shape[0] - 1) / 2, (box.shape[1] - 1) / 2)
    # NumPy, not JAX: a report must not use a GPU, which another job may need.
    weights = foa_weights(box.shape, centre, plane.delta, xp=np)
    drawing.draw_foa_steps(plane.image, box, cropped, weights, cropped * weights, path=path, title=plane.case)


def _draw_neighbours(planes: Sequence[Plane], path: Path) -> None:
    chosen = evenly(planes, 6)
    stack = [crop(np.stack([plane.before, plane.image, plane.after]), plane.box) for plane in chosen]
    places = ", ".join(filter(None, (where(plane, planes) for plane in chosen)))
    title = f"{chosen[0].case} · {places}" if places else chosen[0].case
    drawing.draw_temporal_like(np.stack(stack).transpose(0, 2, 3, 1), path=path, title=title)


def _comparison(result: SweepResult, rows: Sequence[RowResult], galleries: Galleries) -> Iterator[_Figure]:
    """Fig. 5, with slices that are in the galleries of all rows that have one."""
    compared = [row for row in rows if galleries[row.name]]
    if len(compared) < 2:
        return
    found = [
        {(plane.patient, plane.case, plane.frame, plane.slice_): plane for plane in galleries[row.name]}
        for row in compared
    ]
    common = [place for place in found[0] if all(place in planes for planes in found)]
    planes = [found[0][place] for place in common]
    with_class = [plane for plane in planes if (plane.truth == plane.classes.index(result.class_name)).any()]
    # About as many tiles as fit on a page.
    chosen = _over_patients(with_class, max(1, min(4, 36 // (len(compared) + 2))))
    if not chosen:
        return
    places = [(plane.patient, plane.case, plane.frame, plane.slice_) for plane in chosen]
    yield _Figure(
        "fig5_rows",
        "The rows on the same slices (Fig. 5)",
        "The same slices, segmented by each row. Dashed: the truth. The number is the Dice of the "
        f"{result.class_name} on the slice shown.",
        functools.partial(
            drawing.draw_row_comparison,
            [[planes[place] for planes in found] for place in places],
            [row.title for row in compared],
            class_name=result.class_name,
            title="Rows on the same slices",
        ),
    )


def _box_plots(result: SweepResult, rows: Sequence[RowResult]) -> Iterator[_Figure]:
    name = result.class_name
    if len(rows) == 1:
        if any(row.n_units for row in rows[0].patients(name).values()):
            yield _Figure(
                "fig6_fig7_box_plots",
                "Scores over the patients (Figs. 6 and 7)",
                "The distribution over patients, for each structure. Each dot is a patient.",
                functools.partial(drawing.draw_summary, rows[0].scores),
            )
        return
    patients = [(row.title, list(row.patients(name).values())) for row in rows]
    if not any(score.n_units for _, scores in patients for score in scores):
        return
    for figure, measure, title, caption in (
        ("fig6_dice", "dc", "Dice by row (Fig. 6)", "Higher is better. A shorter box means that patients differ less"),
        (
            "fig7_hd95",
            "hd95_mm",
            "95HD by row (Fig. 7)",
            "Lower is better. Single high dots are misses or stray regions",
        ),
        (
            "boundary_dice",
            "bdc",
            "Boundary Dice by row",
            "Higher is better. Boundary Dice shows errors of the outline, which hardly change the Dice of the area",
        ),
    ):
        yield _Figure(
            figure,
            title,
            f"{caption} ({name}; each dot is a patient, red dots are the mean).",
            functools.partial(drawing.draw_row_boxplots, patients, measure, class_name=name),
        )


def _slices(result: SweepResult, row: RowResult, planes: Sequence[Plane]) -> Iterator[_Figure]:
    chosen = _over_patients([plane for plane in planes if plane.truth.any()], 12)
    if not chosen:
        return
    if any(plane.object_box is not None for plane in chosen):
        yield _Figure(
            "fig8a_localization",
            "Localization (Fig. 8a)",
            "The blue box is where the heart was found. The red dotted box has a margin; its inside is segmented.",
            functools.partial(drawing.draw_localizations, chosen, title=f"Localization · {row.title}"),
        )
    yield _Figure(
        "fig8b_difference",
        "Prediction and truth (Fig. 8b)",
        "The differences are yellow. In a good segmentation, they are only along the outlines.",
        functools.partial(
            drawing.draw_differences,
            chosen,
            class_name=result.class_name,
            title=f"Prediction and difference · {row.title}",
        ),
    )
    if len(chosen[0].classes) > 4:
        cases: dict[str, list[Plane]] = {}
        for plane in planes:
            cases.setdefault(plane.case, []).append(plane)
        most = max(cases.values(), key=len)
        most.sort(key=lambda plane: (plane.frame, plane.slice_))
        yield _Figure(
            "fig9_whole_heart",
            "The whole heart (Fig. 9)",
            "Truth, and prediction below it, slice by slice. Each structure has the same colour in both.",
            functools.partial(drawing.draw_structures, evenly(most, 6), title=f"{most[0].patient} · {row.title}"),
        )


def _cases(result: SweepResult, row: RowResult, planes: Sequence[Plane]) -> Iterator[_Figure]:
    """The best and the worst patients in the gallery, each on the slice whose Dice is closest to the patient's mean."""
    name = result.class_name
    by_patient: dict[str, list[Plane]] = {}
    for plane in planes:
        if plane_dice(plane, name) is not None:
            by_patient.setdefault(plane.patient, []).append(plane)
    ranked = sorted(
        (score for score in row.patients(name).values() if score.n_units and score.patient in by_patient),
        key=lambda score: score.dc,
    )
    if not ranked:
        return

    def typical(score: PatientScore) -> tuple[Plane, PatientScore]:
        return min(by_patient[score.patient], key=lambda plane: abs((plane_dice(plane, name) or 0.0) - score.dc)), score

    kept = len(ranked) == sum(score.n_units > 0 for score in row.patients(name).values())
    among = "" if kept else f", among the {len(ranked)} patients whose slices were kept"
    # No patient is both.
    worst = ranked[: max(1, min(3, len(ranked) // 2))]
    best = ranked[::-1][: min(3, len(ranked) - len(worst))]
    yield _Figure(
        "worst_and_best_cases",
        "Worst and best cases",
        f"What goes wrong in the patients of the lowest Dice of the {name}, above, and not in those of the highest, "
        f"below{among}; numbers are patients' means, slices those nearest to them.",
        functools.partial(
            drawing.draw_cases,
            [typical(score) for score in worst],
            [typical(score) for score in best],
            title=f"Patients by Dice of the {name} · {row.title}",
        ),
    )


def _worst(result: SweepResult, row: RowResult, planes: Sequence[Plane]) -> Iterator[_Figure]:
    """The ten cases with the lowest Dice of any class, each on the slice of the gallery where this class is worst."""
    found: dict[str, dict[str, list[float]]] = {}
    for score in row.scores:
        if not math.isnan(score.dc):
            found.setdefault(score.case, {}).setdefault(score.class_name, []).append(score.dc)
    kept: dict[str, list[Plane]] = {}
    for plane in planes:
        kept.setdefault(plane.case, []).append(plane)
    means = {
        case: {name: statistics.fmean(values) for name, values in by_class.items()}
        for case, by_class in found.items()
        if case in kept
    }
    ranked = sorted(means, key=lambda case: (min(means[case].values()), case))[:WORST]
    if not ranked:
        return

    def shown(case: str) -> tuple[Plane, str, dict[str, float]]:
        failed = min(means[case], key=means[case].__getitem__)

        def on(plane: Plane) -> float:
            value = plane_dice(plane, failed)
            return 1.0 if value is None else value

        return min(kept[case], key=on), failed, means[case]

    yield _Figure(
        "worst_ten_cases",
        "The ten worst cases",
        "The cases with the lowest Dice of any class. The class that failed is named above the difference, with its "
        "Dice over the whole case. The Dice of the other classes is beside it, in the order of the legend.",
        functools.partial(drawing.draw_worst, [shown(case) for case in ranked], title=f"Worst cases · {row.title}"),
    )


def _agreement(result: SweepResult, row: RowResult) -> Iterator[_Figure]:
    for number, class_name in enumerate(result.classes, start=1):
        sizes = [size for size in row.sizes if size.class_name == class_name]
        units = list(dict.fromkeys(size.unit for size in sizes))
        for unit in units:
            # A data set with single slices and stacks has both areas and volumes.
            kind = ("area" if unit == "mm²" else "volume") if len(units) > 1 else "size"
            yield _Figure(
                f"agreement_{kind}_{number}_{re.sub(r'[^a-z0-9]+', '_', class_name.lower())}",
                f"Predicted and true {kind}: {class_name}",
                "In a good result, the dots are near the identity line, and the differences have no slope and narrow "
                "limits of agreement (mean ± 1.96 sd).",
                functools.partial(
                    drawing.draw_agreement,
                    [size for size in sizes if size.unit == unit],
                    title=f"{class_name} · {row.title}",
                ),
            )


def _curves(result: SweepResult, rows: Sequence[RowResult]) -> Iterator[_Figure]:
    kinds = {"train": "loss", "validation": "dice"}

    def drawable(row: RowResult, stage: str) -> bool:
        records = [record for run in row.runs for record in run.logs.get(stage, [])]
        return any(record.get(kinds.get(record.get("kind", ""), "")) is not None for record in records)

    if result.single:
        for stage in ("localization", "segmentation"):
            if drawable(rows[0], stage):
                yield _Figure(
                    f"curves_{stage}",
                    f"Learning curves of the {stage} network",
                    "The loss should level off, and the validation Dice, if there is one, should not fall again.",
                    functools.partial(drawing.draw_learning_curves, rows[0].runs[0].logs[stage]),
                )
        return
    logged = [row for row in rows if drawable(row, "segmentation")]
    if logged:
        yield _Figure(
            "curves_rows",
            "Training of the rows",
            "Mean over the folds, by epoch. Losses with different terms have different scales: compare their shapes, "
            "not their values.",
            functools.partial(
                drawing.draw_row_curves, [(row.title, [run.logs["segmentation"] for run in row.runs]) for row in logged]
            ),
        )


def _over_patients(planes: Sequence[Plane], count: int) -> list[Plane]:
    """Returns at most `count` planes: the middle one of each patient, or several of each if there are few patients."""
    by_patient: dict[str, list[Plane]] = {}
    for plane in sorted(planes, key=lambda plane: (plane.patient, plane.case, plane.frame, plane.slice_)):
        by_patient.setdefault(plane.patient, []).append(plane)
    if 2 * len(by_patient) >= count:
        return [group[len(group) // 2] for group in evenly(list(by_patient.values()), count)]
    each = -(-count // max(len(by_patient), 1))
    return evenly([plane for group in by_patient.values() for plane in evenly(group, each)], count)
