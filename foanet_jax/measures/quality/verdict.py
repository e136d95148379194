"""The verdict on a study: good, check or reject, the classes that it concerns, and the numbers that findings spoil."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from foanet_jax.measures.body.reference import DISTANCES
from foanet_jax.measures.body.surface import INDEXED
from foanet_jax.measures.indices.labels import LV_CAVITY, MYOCARDIUM, RV_CAVITY
from foanet_jax.measures.indices.papillary import PAPILLARY
from foanet_jax.measures.indices.study import volume_column
from foanet_jax.measures.quality.finding import REASONS, Finding

GOOD, CHECK, REJECT = VERDICTS = ("good", "check", "reject")
# With one of these, no number of the study can be used.
REJECTED = ("no-contrast", "empty-mask", "not-localized", "exchanged-classes", "dark-blood")
GOOD_DICE = 0.85  # expected of each class of a good study
LOW_DICE = 0.7  # below this value, a segmentation is bad, and its numbers cannot be used

# The classes and the moments from which each number is measured.
_LEFT, _RIGHT, _WALL = LV_CAVITY, RV_CAVITY, (MYOCARDIUM,)
_BEAT = ("ed", "es")
NUMBERS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "lv_edv_ml": (_LEFT, ("ed",)),
    "lv_esv_ml": (_LEFT, ("es",)),
    "lv_sv_ml": (_LEFT, _BEAT),
    "lv_ef_percent": (_LEFT, _BEAT),
    "rv_edv_ml": (_RIGHT, ("ed",)),
    "rv_esv_ml": (_RIGHT, ("es",)),
    "rv_sv_ml": (_RIGHT, _BEAT),
    "rv_ef_percent": (_RIGHT, _BEAT),
    "lv_mass_g": (_WALL, ("ed",)),
    "cavity_area_max_mm2": (_LEFT, ("max",)),
    "cavity_area_min_mm2": (_LEFT, ("min",)),
    "wall_at_max_mm": ((*_WALL, *_LEFT), ("max",)),
    "lv_papillary_ed_ml": ((*_WALL, *_LEFT), ("ed",)),
    "lv_papillary_es_ml": ((*_WALL, *_LEFT), ("es",)),
}
# Numbers that are computed from another one: what spoils it, spoils them too.
COMPUTED: Mapping[str, str] = {
    **{name: column for column, name in INDEXED.items()},
    **{distance: name for name, distance in DISTANCES.items()},
    "cardiac_output_l_min": "lv_sv_ml",
    "cardiac_index_l_min_m2": "lv_sv_ml",
    "lv_edv_drawn_ml": "lv_edv_ml",
    "lv_esv_drawn_ml": "lv_esv_ml",
    "lv_ef_drawn_percent": "lv_ef_percent",
    "lv_mass_drawn_g": "lv_mass_g",
}

# The numbers that a finding spoils. OWN: those that are measured from its class, in its frame; of all classes, if it
# has no class. A tuple: of these numbers, those that are measured in its frame.
OWN = None
SPOILS: Mapping[str, Sequence[str] | None] = {
    **dict.fromkeys(REASONS, OWN),
    "stroke-volumes": ("rv_edv_ml", "rv_esv_ml", "rv_sv_ml", "rv_ef_percent"),
    "out-of-step": ("rv_esv_ml", "rv_sv_ml", "rv_ef_percent"),
    "myocardium-varies": ("lv_mass_g",),
    "implausible-wall": ("lv_mass_g", "wall_at_max_mm"),
    "uneven-brightness": (),
    "frames-differ": (),  # Then there is no number to spoil.
}
# The classes of the findings that concern two classes at once.
_CLASSES = {
    "hole": (MYOCARDIUM, *LV_CAVITY),
    "open-myocardium": (MYOCARDIUM, *LV_CAVITY),
    "implausible-wall": (MYOCARDIUM,),
}


def classes_of(finding: Finding, classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the foreground classes that a finding concerns: its own, or all of them.

    Args:
        finding: the finding.
        classes: names by index, background first.
    """
    if finding.class_name is not None:
        return (finding.class_name,)
    return tuple(name for name in classes[1:] if name in _CLASSES.get(finding.code, classes))


def verdict(findings: Iterable[Finding], classes: Sequence[str]) -> str:
    """Returns the verdict: "good", "check" or "reject".

    A study without findings is good. It is rejected if it has a code of REJECTED, or if no class can be used: each is
    absent, or its expected Dice is below LOW_DICE or unknown. All others are to be checked.

    Args:
        findings: all findings of a study.
        classes: names by index, background first.
    """
    found = list(findings)
    useless = {name for finding in found if _is_useless(finding) for name in classes_of(finding, classes)}
    if any(finding.code in REJECTED for finding in found) or useless >= set(classes[1:]):
        return REJECT
    return CHECK if found else GOOD


def _is_useless(finding: Finding) -> bool:
    if finding.code == "low-confidence":
        return finding.value is None or finding.value < LOW_DICE
    return finding.code == "class-absent"


def worst(verdicts: Iterable[str]) -> str:
    """Returns the worst of the verdicts."""
    return max(verdicts, key=VERDICTS.index)


def doubtful_classes(findings: Iterable[Finding], classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the foreground classes that findings concern, in the order of the classes."""
    found = {name for finding in findings for name in classes_of(finding, classes)}
    return tuple(name for name in classes[1:] if name in found)


def affected_numbers(
    findings: Iterable[Finding], numbers: Collection[str], classes: Sequence[str], frames: Mapping[str, int | None]
) -> dict[str, tuple[str, ...]]:
    """Returns, for each number that findings spoil, the codes of these findings.

    A finding about one frame spoils only numbers that are measured in this frame. A class that vanishes spoils all of
    its numbers, because the frame without it may be end systole.

    Args:
        findings: all findings of a study, or of the frames of a patient.
        numbers: the names of the numbers, as in `indices.study.headline`.
        classes: names by index, background first.
        frames: the frames from which numbers are measured, by moment: "ed", "es", "max", "min". Other numbers are
            measured in frame 0.
    """
    found: dict[str, dict[str, None]] = {}
    of_volumes: dict[str, tuple[Sequence[str], Sequence[str]]]
    of_volumes = {volume_column(name): ((name,), ()) for name in classes[1:]}
    of_volumes[volume_column(PAPILLARY)] = ((MYOCARDIUM, *LV_CAVITY), ())
    for finding in findings:
        of_finding, spoiled = classes_of(finding, classes), SPOILS[finding.code]
        anywhere = finding.frame is None or (finding.code == "class-vanishes" and finding.slice_ is None)
        for number in numbers:
            base = number
            while base in COMPUTED:
                base = COMPUTED[base]
            if base not in NUMBERS and base not in of_volumes:
                continue  # It is not measured on the mask, such as the body surface area.
            measured, moments = NUMBERS.get(base) or of_volumes[base]
            where = {frames.get(moment) for moment in moments} or {0}
            its = spoiled is OWN or base in spoiled or (base in of_volumes and bool(spoiled))
            if its and set(of_finding) & set(measured) and (anywhere or finding.frame in where):
                found.setdefault(number, {})[finding.code] = None
    return {number: tuple(found[number]) for number in numbers if number in found}


def as_cell(affected: Mapping[str, Iterable[str]]) -> str:
    """Returns numbers and codes as the text of one cell: "rv_edv_ml: class-gap; rv_ef_percent: class-gap jump"."""
    return "; ".join(f"{number}: {' '.join(codes)}" for number, codes in affected.items())
