"""Which slices count at end diastole and end systole: the lines of text, and the marks of slices."""

from foanet_jax.measures.indices.counted import COUNTS, LEFT_OUT, mark_of, moments_of, rule_of, sentences_of
from foanet_jax.pages.markup.elements import Html, join, tag
from foanet_jax.pages.study_page.result import StudyResult

MARKS = {COUNTS: "✓", LEFT_OUT: "✗", "": ""}


def counting_slices(result: StudyResult) -> Html:
    """Returns the lines that say which slices count, and why others do not; empty if there is only one slice."""
    count = result.count
    if count is None or result.mask.shape[1] == 1:
        return Html()
    moments = moments_of(len(result.mask), *result.end_frames)
    lines = [tag("p", sentence, class_="quiet") for sentence in sentences_of(count, moments)]
    legend = f"{MARKS[COUNTS]}: the slice counts; {MARKS[LEFT_OUT]}: it was left out; {rule_of(count)}."
    return tag("section", join(lines), tag("p", legend, class_="quiet"), id="slices")


def mark(result: StudyResult, frame: int, slice_: int) -> str:
    """Returns the mark of a slice: ✓ if it counts, ✗ if it was left out, "" without a ventricle."""
    return "" if result.count is None else MARKS[mark_of(result.count, frame, slice_)]
