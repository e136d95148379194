"""The report's tables: the numbers of the evaluation, one set of cells behind every format, nothing lost in silence."""

import csv
import dataclasses
import io
import math
import re

import numpy as np
import pytest
from scipy import stats

from foanet_jax.measures.evaluation import summarise
from foanet_jax.measures.metrics import FOREGROUND
from foanet_jax.pages.report.statistics import holm, interval
from foanet_jax.pages.report.table import Difference, Estimate, FoldCount, Number, PValue, Seconds, Table
from foanet_jax.pages.report.tables import make_tables, write_tables
from tests.pages.report.sweep_results import PAPER, make_result

MEASURES = ("dc", "hd95_mm", "bdc")


def tables_of(result):
    return {table.name: table for table in make_tables(result)}


def records(table):
    return list(csv.DictReader(io.StringIO(table.as_csv())))


def texts(table):
    """Rows by column key, as text."""
    return [dict(zip(table.keys, row, strict=True)) for row in table.text_rows()]


@pytest.fixture(scope="module")
def whole():
    result = make_result()
    return result, tables_of(result)


@pytest.fixture(scope="module")
def broken():
    """Row a lacks fold 1, which failed, c fold 2, which did not finish, and misses one structure; i and b are whole."""
    result = make_result(
        rows=("a", "c", "b", "i"),
        failures={"a": {1: "RuntimeError: out of\nmemory"}},
        missing={"c": [2]},
        misses={"c": ["patient02"]},
    )
    return result, tables_of(result)


def test_main_table_has_the_numbers_of_the_evaluation(whole):
    result, tables = whole
    found = records(tables["main"])
    assert [record["row"] for record in found] == ["a", "c", "i"]
    for row, record in zip(result.rows, found, strict=True):
        summary = summarise(row.scores).row("myocardium")
        patients = row.patients("myocardium").values()
        for measure in MEASURES:
            statistic = getattr(summary, measure)
            assert float(record[f"{measure}_mean"]) == statistic.mean
            assert float(record[f"{measure}_sd"]) == statistic.sd
            assert float(record[f"{measure}_median"]) == statistic.median
            expected = interval([getattr(patient, measure) for patient in patients])
            assert float(record[f"{measure}_low"]) == expected.low
            assert float(record[f"{measure}_high"]) == expected.high
            assert int(record[f"{measure}_n"]) == 12
            assert float(record[f"{measure}_paper"]) == PAPER[row.name][measure]
        assert (record["n_patients"], record["n_units"], record["misses"]) == ("12", "24", "0")
        assert (record["folds_finished"], record["folds_wanted"]) == ("3", "3")


def test_text_is_the_csv_rounded(whole):
    _, tables = whole
    for text, record in zip(texts(tables["main"]), records(tables["main"]), strict=True):
        for measure in MEASURES:
            mean, sd, median, low, high = (
                f"{float(record[f'{measure}_{name}']):.3f}" for name in ("mean", "sd", "median", "low", "high")
            )
            assert text[measure] == f"{mean} ± {sd} ({median}) [{low}, {high}]"
            assert text[f"{measure}_paper"] == f"{float(record[f'{measure}_paper']):.3f}"
        assert text["folds"] == "3/3"


def test_every_format_shows_the_same_cells(whole):
    for table in whole[1].values():
        markdown, latex = table.as_markdown().splitlines(), table.as_latex().splitlines()
        assert len(records(table)) == len(table.rows)
        body = latex[latex.index(r"\midrule") + 1 : latex.index(r"\bottomrule")]
        body = [line for line in body if line != r"\midrule"]
        for row, piped, line in zip(table.text_rows(), markdown[4 : 4 + len(table.rows)], body, strict=True):
            assert piped.replace("**", "").replace("\\", "") == "| " + " | ".join(row) + " |"
            plain = line.replace(r"\begin{tabular}[t]{@{}r@{}}", "").replace(r"\end{tabular}", "")
            plain = plain.removesuffix(r" \\").replace(r"\\ ", "").replace(r"\textbf", "")
            for code, character in ((r"$\pm$", "±"), ("$-$", "−"), ("$<$", "<"), ("--", "–")):
                plain = plain.replace(code, character)
            assert plain.replace("{", "").replace("}", "") == " & ".join(row)


def test_a_table_of_every_class(whole):
    result, tables = whole
    found = records(tables["classes"])
    assert [(record["class"], record["row"]) for record in found] == [
        (class_name, row) for class_name in ("myocardium", "cavity", FOREGROUND) for row in ("a", "c", "i")
    ]
    for record in found:
        summary = summarise(result.row(record["row"]).scores).row(record["class"])
        assert float(record["dc_mean"]) == summary.dc.mean
        assert int(record["n_units"]) == summary.n_units
    assert tables["classes"].as_latex().count(r"\midrule") == 3


def test_comparisons_against_scipy(broken):
    result, tables = broken
    reference = result.row("i").patients("myocardium")
    for measure, heading in zip(MEASURES, ("DC", "95HD mm", "BDC"), strict=True):
        found = [record for record in records(tables["comparisons"]) if record["measure"] == heading]
        p_values = []
        for record in found:
            patients = result.row(record["row"]).patients("myocardium")
            a, b = ([getattr(rows[p], measure) for p in patients] for rows in (patients, reference))
            p_values.append(stats.wilcoxon(a, b).pvalue)
            assert float(record["p"]) == pytest.approx(p_values[-1])
            assert float(record["difference_mean"]) == pytest.approx(np.mean(a) - np.mean(b))
            assert float(record["difference_median"]) == pytest.approx(np.median(np.subtract(a, b)))
            assert float(record["difference_low"]) < float(record["difference_mean"])
            assert float(record["difference_mean"]) < float(record["difference_high"])
        assert [float(record["p_holm"]) for record in found] == pytest.approx(holm(p_values))
        # Each lacks a fold of four patients, b none.
        assert [(r["row"], r["pairs"], r["left_out"]) for r in found] == [
            ("a", "8", "4"),
            ("c", "8", "4"),
            ("b", "12", "0"),
        ]
    assert "i (BLP + FOA + CSD, folds 3/3)" in tables["comparisons"].title


def test_effect_says_which_row_is_higher():
    forth = records(tables_of(make_result(rows=("a", "i"), reference="i"))["comparisons"])
    back = records(tables_of(make_result(rows=("a", "i"), reference="a"))["comparisons"])
    assert [float(r["effect"]) for r in forth] == pytest.approx([-float(r["effect"]) for r in back])
    assert [float(r["effect"]) < 0 for r in forth] == [True, False, True]


def test_rows_without_common_patients():
    result = make_result(rows=("a", "c", "i"), missing={"a": [0, 1], "i": [2]})
    tables = tables_of(result)
    for record, text in zip(records(tables["comparisons"]), texts(tables["comparisons"]), strict=True):
        if record["row"] == "a":
            assert (record["pairs"], record["left_out"], record["p"], record["p_holm"]) == ("0", "12", "", "")
            assert (text["difference"], text["effect"], text["p"], text["p_holm"]) == ("–", "–", "–", "–")
        else:
            # One test is left for the measure, so that there is nothing to adjust.
            assert record["p"] == record["p_holm"]
    assert "Fewer than 6 pairs cannot give p < 0.05." in tables["comparisons"].notes
    assert "folds 2/3 †" in tables["comparisons"].title


def test_missing_folds_are_marked_and_told(broken):
    _, tables = broken
    for table in tables.values():
        folds = {text["row"]: text["folds"] for text in texts(table)}
        assert (folds["a"], folds["c"], folds["b"]) == ("2/3 †", "2/3 †", "3/3")
        assert any(note.startswith("†") for note in table.notes)
        assert r"2/3 $\dagger$" in table.as_latex()
        assert "| 2/3 † |" in table.as_markdown()
    notes = tables["main"].notes
    assert "† a: 2/3 folds, fold 1 failed: RuntimeError: out of memory." in notes
    assert "† c: 2/3 folds, fold 2 has not finished." in notes
    assert not any(note.startswith(("† b", "† i")) for note in notes)
    assert records(tables["main"])[0]["folds_finished"] == "2"


def test_misses_stay_in_the_means_and_are_counted(broken):
    result, tables = broken
    record = records(tables["main"])[1]
    assert (record["misses"], record["n_patients"], record["n_units"]) == ("1", "8", "16")
    missed = result.row("c").patients("myocardium")["patient02"]
    assert missed.hd95_mm > 160
    values = [patient.hd95_mm for patient in result.row("c").patients("myocardium").values()]
    assert float(record["hd95_mm_mean"]) == pytest.approx(np.mean(values))
    by_class = {r["class"]: r["misses"] for r in records(tables["classes"]) if r["row"] == "c"}
    assert by_class == {"myocardium": "1", "cavity": "0", FOREGROUND: "1"}


def test_best_is_bold_among_whole_rows(broken):
    _, tables = broken
    table = tables["main"]
    assert table.best == {(3, table.keys.index(measure)) for measure in MEASURES}
    bold = f"**{table.text_rows()[3][table.keys.index('dc')].split(' (')[0]}** ("
    assert bold in table.as_markdown()
    assert table.as_latex().count(r"\textbf{") == 3
    # The lower the distance the better, and a row that lacks a fold does not win.
    without = tables_of(make_result(rows=("a", "c", "i"), missing={"i": [0]}))["main"]
    assert without.best == {(1, without.keys.index(measure)) for measure in MEASURES}
    alone = tables_of(make_result(rows=("a", "i"), missing={"i": [0]}))["main"]
    assert not alone.best
    classes = tables["classes"]
    assert {row for row, _ in classes.best} == {3, 7, 11}


def test_row_that_failed_altogether():
    result = make_result(rows=("a", "i"), failures={"a": {0: "no memory", 1: "no memory", 2: "no memory"}})
    tables = tables_of(result)
    text, record = texts(tables["main"])[0], records(tables["main"])[0]
    assert (text["dc"], text["folds"], text["n_patients"]) == ("–", "0/3 †", "0")
    assert (record["dc_mean"], record["dc_low"], record["dc_n"]) == ("", "", "0")
    assert texts(tables["timings"])[0]["segmentation_s"] == "–"
    nothing = make_result(rows=("a",), failures={"a": {0: "no memory"}}, folds=1)
    tables = tables_of(dataclasses.replace(nothing, classes=()))
    assert [text["class"] for text in texts(tables["classes"])] == [FOREGROUND]


def test_single_run():
    tables = tables_of(make_result(rows=("i",), folds=1, patients=1, single=True))
    assert list(tables) == ["main", "classes", "timings"]
    text, record = texts(tables["main"])[0], records(tables["main"])[0]
    # One patient has no spread.
    assert text["dc"] == f"{float(record['dc_mean']):.3f}"
    assert (record["dc_sd"], record["dc_low"], record["dc_n"]) == ("", "", "1")
    assert text["folds"] == "1/1"
    assert not tables["main"].best


def test_columns_that_need_be():
    result = make_result(rows=("i", "mine"), titles={"mine": "Mine"})
    found = texts(tables_of(result)["main"])
    assert (found[0]["dc_paper"], found[1]["dc_paper"]) == ("0.879", "")
    dc_alone = dataclasses.replace(result.rows[0], paper={"dc": 0.879})
    keys = tables_of(dataclasses.replace(result, rows=(dc_alone, result.rows[1])))["main"].keys
    assert [key for key in keys if key.endswith("_paper")] == ["dc_paper"]
    result = make_result(rows=("mine",))
    assert "dc_paper" not in tables_of(result)["main"].keys
    assert "excluded" not in tables_of(result)["main"].keys
    run = result.rows[0].runs[0]
    empty = dataclasses.replace(
        run.scores[0], dc=math.nan, hd95_mm=math.nan, hd95_px=math.nan, bdc=math.nan, empty=True
    )
    run = dataclasses.replace(run, scores=(empty, *run.scores[1:]))
    row = dataclasses.replace(result.rows[0], runs=(run, *result.rows[0].runs[1:]))
    text = texts(tables_of(dataclasses.replace(result, rows=(row,)))["main"])[0]
    assert (text["excluded"], text["n_units"], text["n_patients"]) == ("1", "23", "12")


def test_timings_are_means_over_folds():
    result = make_result(rows=("a", "i"))
    run = dataclasses.replace(result.rows[0].runs[0], timings={"segmentation": 300.0})
    row = dataclasses.replace(result.rows[0], runs=(run, *result.rows[0].runs[1:]))
    found = records(tables_of(dataclasses.replace(result, rows=(row, result.rows[1])))["timings"])
    # a: 100 is not known of localization, 300 stands for 200 of segmentation; i: 210, 211, 212.
    assert (found[0]["localization_s_mean"], found[0]["localization_s_n"]) == ("101.5", "2")
    assert float(found[0]["segmentation_s_mean"]) == pytest.approx((300 + 201 + 202) / 3)
    assert (found[1]["segmentation_s_mean"], found[1]["evaluation_s_mean"]) == ("211.0", "6.0")


def test_characters_that_mean_something():
    title = r"50% & more_of $this$ #1 {x} ~ ^ \ | [a] * <b>"
    error = r"KeyError: 'a_b' & 100% in C:\x"
    result = make_result(rows=("a_1", "[i]"), titles={"a_1": title}, failures={"a_1": {0: error}}, reference="[i]")
    result = dataclasses.replace(result, title="Ablation_study & co, 95 %")
    for table in make_tables(result):
        latex = table.as_latex()
        plain = re.sub(r"\\[\\{}%&$#_]", "", latex)
        assert plain.count("{") == plain.count("}")
        assert "Ablation\\_study \\& co, 95 \\%" in latex
        assert "50\\% \\& more\\_of \\$this\\$ \\#1 \\{x\\}" in latex
        lines = [line for line in plain.splitlines()[1:] if "&" in line]
        assert {line.count("&") for line in lines} == {len(table.header) - 1}
        assert "%" not in "".join(plain.splitlines()[1:])
        assert plain.count("$") % 2 == 0
        # A bracket at the start of a row would be an option of the line break before it.
        assert not any(line.startswith("[") for line in latex.splitlines())
        piped = [line for line in table.as_markdown().splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in piped} == {len(table.header) + 1}
        assert records(table)[0]["row"] == "a_1" or table.name == "comparisons"
        assert records(table)[0]["configuration"] == title


def test_cells_as_text():
    table = Table(
        name="cells",
        title="Cells",
        header=("a", "b", "c", "d", "e", "f", "g", "h"),
        keys=("a", "b", "c", "d", "e", "f", "g", "h"),
        rows=(
            (
                "x",
                3,
                None,
                Number(-0.25, "+.3f"),
                PValue(0.0004),
                Seconds(61.25, 2),
                FoldCount(4, 5),
                Difference(-0.5, 0.25, -1.0, 0.125, 3),
            ),
        ),
        notes=(),
    )
    assert table.text_rows() == [
        ["x", "3", "", "−0.250", "< 0.001", "61.2 s", "4/5 †", "−0.500 (+0.250) [−1.000, 0.125]"]
    ]
    assert table.as_csv() == (
        "a,b,c,d,e,f_mean,f_n,g_finished,g_wanted,h_mean,h_median,h_low,h_high,h_n\n"
        "x,3,,-0.25,0.0004,61.25,2,4,5,-0.5,0.25,-1.0,0.125,3\n"
    )
    assert Estimate(0.5, math.nan, 0.5, math.nan, math.nan, 1).parts() == ("0.500",)


def test_files(tmp_path, whole):
    write_tables(whole[1].values(), tmp_path / "tables")
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert names == {f"{n}.{e}" for n in ("main", "classes", "comparisons", "timings") for e in ("md", "tex", "csv")}
    main = whole[1]["main"]
    assert (tmp_path / "tables" / "main.csv").read_text(encoding="utf-8") == main.as_csv()
    assert (tmp_path / "tables" / "main.tex").read_text(encoding="utf-8") == main.as_latex()
    assert (tmp_path / "tables" / "main.md").read_text(encoding="utf-8") == main.as_markdown()


def test_same_result_same_tables(whole):
    assert make_tables(whole[0]) == list(whole[1].values())
