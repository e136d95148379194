"""The report as one page: an HTML file without scripts that opens offline, on a phone and on paper."""

import base64
import html
import math
import shlex
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from foanet_jax import __version__
from foanet_jax.atomic import atomic_path
from foanet_jax.data.folds import FOLDS
from foanet_jax.evaluation import ClassSummary, Statistic, summarise
from foanet_jax.metrics import PatientScore
from foanet_jax.report.figures import FigureFile
from foanet_jax.report.tables import HEADINGS, Table, cell_parts
from foanet_jax.settings import STAGES, dotted
from foanet_jax.sweep.results import RowResult, RunResult, SweepResult, read_json

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_VOID = ("meta", "link", "img")
_EXTREMES = 5
_BESIDE = "Beside this page: tables/ as Markdown, LaTeX and CSV at full precision, figures/ as PNG and PDF."


class _Html(str):
    """Markup: the only text that `_tag` does not escape."""


def _tag(name: str, /, *content: str, **attributes: object) -> _Html:
    """An element. `class_` is written as class, `aria_label` as aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return _Html(f"<{name}{written}>")
    return _Html(f"<{name}{written}>{_join(content)}</{name}>")


def _join(content: Iterable[str]) -> _Html:
    return _Html("".join(part if isinstance(part, _Html) else html.escape(part) for part in content))


def write_page(result: SweepResult, tables: Sequence[Table], figures: Sequence[FigureFile], path: Path) -> None:
    """Writes the page, whole or not at all: numbers, tables and pictures, and all that made them.

    Args:
        result: of a sweep or a single run; `folds.json` is read from its folder where there is one.
        tables: in their order, the main one first.
        figures: whose PNGs go into the page.
        path: the HTML file.
    """
    sections = {
        "tables": ("Tables", _tables(tables)),
        "figures": ("Figures", _figures(figures)),
        "cases": ("Worst and best patients", _extremes(result)),
        "flags": ("Flags", _flags(result)),
        "data": ("Data", _data(result)),
        "configuration": ("Configuration", _configuration(result)),
        "provenance": ("How it was run", _provenance(result)),
    }
    sections = {name: section for name, section in sections.items() if section[1]}
    links = [_tag("li", _tag("a", title, href=f"#{name}")) for name, (title, _) in sections.items()]
    body = _tag(
        "body",
        _tag(
            "header",
            _tag("p", "FOANet" if result.name in result.title else f"FOANet · {result.name}", class_="above"),
            _tag("h1", result.title),
            _tag("p", _summary(result), class_="summary"),
            _problems(result),
            _key_numbers(result),
            _tag("nav", _tag("ul", *links), aria_label="Sections"),
        ),
        _tag(
            "main",
            *(_tag("section", _tag("h2", title), content, id=name) for name, (title, content) in sections.items()),
        ),
        _tag("footer", f"{_BESIDE} foanet-jax {__version__}.", class_="quiet"),
    )
    head = _tag(
        "head",
        _tag("meta", charset="utf-8"),
        _tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        _tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _tag("meta", name="color-scheme", content="light dark"),
        _tag("title", f"{result.title} – FOANet"),
        # Otherwise browsers ask a server for one.
        _tag("link", rel="icon", href="data:,"),
        _tag("style", _Html(_STYLE.read_text(encoding="utf-8"))),
    )
    page = f"<!DOCTYPE html>\n{_tag('html', head, body, lang='en')}\n"
    with atomic_path(path) as temporary:
        # Names of files may hold bytes that are no UTF-8.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _wanted(result: SweepResult) -> int:
    return sum(len(row.wanted) for row in result.rows)


def _class_summary(result: SweepResult, row: RowResult) -> ClassSummary | None:
    if not row.patients(result.class_name):
        return None
    return summarise(row.scores).row(result.class_name)


def _summary(result: SweepResult) -> str:
    row = result.main_row
    wanted = _wanted(result)
    if result.single:
        (run,) = row.runs
        text = f"One run of {result.name}, fold {run.fold}"
    else:
        text = f"{_count(len(result.rows), 'row')} on {_count(len(row.wanted), 'fold')}: "
        states = {
            "finished": sum(len(row.runs) for row in result.rows),
            "failed": sum(len(row.failures) for row in result.rows),
            "missing": sum(len(row.missing) for row in result.rows),
        }
        if states["finished"] == wanted:
            text += f"all {_count(wanted, 'run')} finished"
        else:
            listed = [f"{count} {state}" for state, count in states.items() if count or state == "finished"]
            text += f"of {_count(wanted, 'run')} {_and(listed)}"
    patients = {score.patient for row in result.rows for score in row.scores}
    misses = sum(score.miss for score in row.scores)
    text += f"; {_count(len(patients), 'test patient')}. "
    main = _class_summary(result, row)
    if main is None:
        return text + f"{row.title} has no scores yet."
    incomplete = "" if len(row.runs) == len(row.wanted) else f" over {len(row.runs)} of {len(row.wanted)} folds"
    paper = f"; paper: {row.paper['dc']:.3f}" if "dc" in row.paper else ""
    return text + (
        f"{row.title} reaches a {result.class_name} DC of {_mean_sd(main.dc)}{incomplete} (mean ± sd over "
        f"{_count(main.n_patients, 'patient')}{paper}), with {_count(misses, 'miss', 'misses')} of any class."
    )


def _key_numbers(result: SweepResult) -> _Html:
    row = result.main_row
    main = _class_summary(result, row)
    if main is None:
        return _Html()
    tiles = []
    for measure, label in HEADINGS.items():
        statistic = getattr(main, measure)
        beside = [f"± {_number(statistic.sd)}"] if math.isfinite(statistic.sd) else []
        beside += [f"paper {row.paper[measure]:.3f}"] if measure in row.paper else []
        tiles.append((f"{result.class_name} {label}", _number(statistic.mean), ", ".join(beside)))
    tiles += [
        ("Patients", str(main.n_patients), "tested"),
        ("Misses", str(main.misses), f"in {_count(main.n_units, 'unit')}"),
        ("Finished", str(sum(len(row.runs) for row in result.rows)), f"of {_count(_wanted(result), 'run')}"),
    ]
    return _tag(
        "dl",
        *(
            _tag("div", _tag("dt", name), _tag("dd", value), _tag("dd", beside, class_="quiet"))
            for name, value, beside in tiles
        ),
        class_="numbers",
    )


def _problems(result: SweepResult) -> _Html:
    # One cause can fail dozens of runs: each message stands here once.
    failed: dict[str, dict[str, list[int]]] = {}
    for row in result.rows:
        for fold, message in row.failures.items():
            failed.setdefault(message, {}).setdefault(row.title, []).append(fold)
    items = [
        _tag(
            "li",
            _tag("strong", "; ".join(f"{title}, {_fold_names(folds)}" for title, folds in runs.items())),
            _tag("pre", message),
        )
        for message, runs in failed.items()
    ]
    items += [
        _tag("li", _tag("strong", f"{row.title}, {_fold_names(row.missing)}"), ": not finished")
        for row in result.rows
        if row.missing
    ]
    if not items:
        return _Html()
    return _tag(
        "section",
        _tag("h2", "What went wrong" if failed else "What is missing"),
        _tag("ul", *items),
        class_="problems",
        id="problems",
    )


def _tables(tables: Sequence[Table]) -> _Html:
    return _join(map(_typed_table, tables))


def _typed_table(table: Table) -> _Html:
    rows = [
        [_cell(cell_parts(cell), best=(i, j) in table.best) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    words = {j for row in table.rows for j, cell in enumerate(row) if isinstance(cell, str)}
    starts = {i for i, row in enumerate(table.rows) if table.grouped and i and row[0] != table.rows[i - 1][0]}
    return _table(
        table.title,
        table.header,
        rows,
        numeric=set(range(len(table.header))) - words,
        starts=starts,
        notes=table.notes,
        id=f"table-{table.name}",
    )


def _cell(parts: Sequence[str], *, best: bool) -> _Html:
    first, *others = parts
    return _join([_tag("strong", first) if best else first, *(_tag("small", f" {other}") for other in others)])


def _table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Iterable[int] = (),
    long: Iterable[int] = (),
    starts: Collection[int] = (),
    notes: Sequence[str] = (),
    **attributes: str,
) -> _Html:
    """A table in a box of its own to scroll in.

    Args:
        title: its caption.
        header: of each column.
        rows: text or markup of each cell; the first names its row.
        numeric: columns that are aligned on the right.
        long: columns whose lines may break.
        starts: rows that a group begins with.
        notes: below it.
        **attributes: of the element around table and notes.
    """
    classes = {**dict.fromkeys(numeric, "number"), **dict.fromkeys(long, "long")}
    kinds = [{"class_": classes[column]} if column in classes else {} for column in range(len(header))]
    head = [_tag("th", cell, scope="col", **kind) for cell, kind in zip(header, kinds, strict=True)]
    body = [
        _tag(
            "tr",
            _tag("th", cells[0], scope="row", **kinds[0]),
            *(_tag("td", cell, **kind) for cell, kind in zip(cells[1:], kinds[1:], strict=True)),
            **({"class_": "start"} if i in starts else {}),
        )
        for i, cells in enumerate(rows)
    ]
    table = _tag(
        "table",
        _tag("caption", _tag("span", title)),
        _tag("thead", _tag("tr", *head)),
        _tag("tbody", *body),
    )
    box = _tag("div", table, class_="scroll", role="region", tabindex="0", aria_label=title)
    return _tag("div", box, *(_tag("p", note, class_="quiet") for note in notes), class_="block", **attributes)


def _figures(figures: Sequence[FigureFile]) -> _Html:
    if not figures:
        return _Html()
    hint = _tag("p", "Select a figure to enlarge it.", class_="quiet hint")
    return _join([hint, *map(_figure, figures)])


def _figure(figure: FigureFile) -> _Html:
    # Enlarged, it leaves the page's flow; its place remains to come back to.
    place, enlarged = f"figure-{figure.name}", f"enlarged-{figure.name}"
    png = figure.png.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    image = _tag(
        "img",
        src=f"data:image/png;base64,{base64.b64encode(png).decode()}",
        alt=figure.title,
        width=width,
        height=height,
    )
    caption = _tag("figcaption", _tag("strong", f"{figure.title}."), f" {figure.caption}")
    return _tag(
        "div",
        _tag(
            "figure",
            _tag("a", "Back to the page", class_="close", href=f"#{place}"),
            _tag("a", image, class_="enlarge", href=f"#{enlarged}"),
            caption,
            id=enlarged,
        ),
        class_="block",
        id=place,
    )


def _extremes(result: SweepResult) -> _Html:
    row = result.main_row
    # With evaluation.patients "all", every fold has every patient.
    folds_of: dict[str, list[str]] = {}
    for run in row.runs:
        for name in dict.fromkeys(score.patient for score in run.scores):
            folds_of.setdefault(name, []).append(str(run.fold))
    patients = sorted(
        (patient for patient in row.patients(result.class_name).values() if patient.n_units),
        key=lambda patient: patient.dc,
    )
    count = min(_EXTREMES, len(patients) // 2)
    if not count:
        return _Html()
    header = ["Patient", "Fold", *HEADINGS.values(), "Misses"]

    def table(title: str, chosen: Sequence[PatientScore]) -> _Html:
        cells = [
            [
                patient.patient,
                ", ".join(folds_of[patient.patient]),
                *(_number(getattr(patient, measure)) for measure in HEADINGS),
                str(patient.misses),
            ]
            for patient in chosen
        ]
        return _table(title, header, cells, numeric=range(1, len(header)))

    return _join(
        [
            _tag("p", f"{row.title}, by the patient's mean {result.class_name} DC."),
            _tag("div", table("Worst", patients[:count]), table("Best", patients[: -count - 1 : -1]), class_="pair"),
        ]
    )


def _flags(result: SweepResult) -> _Html:
    cases: dict[tuple[str, str], list[str]] = {}
    for row in result.rows:
        for run in row.runs:
            for case, flags in run.flags.items():
                for flag in flags:
                    cases.setdefault((flag, row.title), []).append(f"{case} (fold {run.fold})")
    if not cases:
        return _tag("p", "No case was flagged.") if any(row.runs for row in result.rows) else _Html()
    return _table(
        "What the method itself says not to trust",
        ["Row", "Flag", "Cases", "Which"],
        [[title, flag, str(len(which)), ", ".join(which)] for (flag, title), which in cases.items()],
        numeric=[2],
        long=[1, 3],
    )


def _data(result: SweepResult) -> _Html:
    parts = [_tag("p", f"Classes: {', '.join(result.classes)}.")] if result.classes else []
    if (result.folder / FOLDS).exists():
        planned = read_json(result.folder / FOLDS)
        names = ("train", "validation", "test")
        folds = list(enumerate(planned["folds"]))
        parts += [
            _table(
                "Patients of each fold",
                ["Fold", "Train", "Validation", "Test"],
                [[str(number), *(str(len(fold[name])) for name in names)] for number, fold in folds],
                numeric=range(1, 4),
                notes=[f"Dealt out with seed {planned['seed']}."],
            ),
            _details(
                "Test patients of each fold",
                _table(
                    "Test patients",
                    ["Fold", "Patients"],
                    [[str(number), ", ".join(fold["test"])] for number, fold in folds],
                    long=[1],
                ),
            ),
        ]
    return _join(parts)


def _configuration(result: SweepResult) -> _Html:
    parts = []
    if not result.single:
        changes = [
            [row.title, row.name, ", ".join(f"{name} = {_value(value)}" for name, value in row.change.items()) or "–"]
            for row in result.rows
        ]
        parts.append(_table("What each row changes", ["Row", "Name", "Changes"], changes, long=[2]))
    stages = {name: dotted(result.config[name]) for name in STAGES if name in result.config}
    settings = dict.fromkeys(name for stage in stages.values() for name in stage)
    # What rows would change, and their table, is no setting of a run.
    others = {name: value for name, value in result.config.items() if name not in (*stages, "rows", "table")}
    blocks = [
        _table(
            "The two networks",
            ["Setting", *stages],
            [[name, *(_value(stage.get(name, "–")) for stage in stages.values())] for name in settings],
        ),
        _table(
            "Everything else",
            ["Setting", "Value"],
            [[name, _value(value)] for name, value in dotted(others).items()],
            long=[1],
        ),
    ]
    return _join([*parts, _details("Every setting", _tag("div", *blocks, class_="pair"))])


def _provenance(result: SweepResult) -> _Html:
    runs = [run for row in result.rows for run in row.runs]
    if not runs:
        return _Html()
    facts = {
        "commit": lambda record: record["commit"] or "unknown",
        "devices": lambda record: ", ".join(record["devices"]),
        "platform": lambda record: record["platform"],
        "seed": lambda record: str(record["config"]["seed"]),
    }
    rows = [[name, _distinct(runs, fact)] for name, fact in facts.items()]
    for package in dict.fromkeys(name for run in runs for name in run.record["versions"]):
        rows.append([package, _distinct(runs, lambda record, name=package: record["versions"].get(name, "–"))])
    commands = dict.fromkeys(shlex.join(run.record["command"]) for run in runs)
    return _join(
        [
            _table("Code, devices and versions", ["What", "Value"], rows, long=[1]),
            _details(_count(len(commands), "command line"), *(_tag("pre", command) for command in commands)),
        ]
    )


def _distinct(runs: Sequence[RunResult], fact: Any) -> str:
    """What the runs' records say, with the number of runs where they differ."""
    counts = Counter(fact(run.record) for run in runs)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({_count(count, 'run')})" for value, count in counts.most_common())


def _details(summary: str, *content: str) -> _Html:
    return _tag("details", _tag("summary", summary), *content)


def _value(value: Any) -> str:
    return '""' if value == "" else str(value)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _fold_names(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {_and([str(fold) for fold in folds])}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _mean_sd(statistic: Statistic) -> str:
    return _number(statistic.mean) + (f" ± {_number(statistic.sd)}" if math.isfinite(statistic.sd) else "")
