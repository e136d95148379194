"""Which slices of a short-axis stack count for the volumes: the valve plane at the base, and islands at the apex.

The rule at the base is that of the Society for Cardiovascular Magnetic Resonance (Schulz-Menger et al., J Cardiovasc
Magn Reson 22:19, 2020): a basal slice counts for the left ventricle if at least half of the blood's circumference is
surrounded by myocardium. docs/indices.md describes how it is applied to a beating heart.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from foanet_jax.image.boxes import bounding_box
from foanet_jax.measures.indices.labels import MYOCARDIUM, RV_CAVITY, require_mask, require_spacing
from foanet_jax.system.errors import InputError

SCMR, ALL = RULES = ("scmr", "all")
CHOSEN = "slices"  # the rule of a user who names the slices
LEAST_SHARE = 0.5
# In ACDC's ground truth, the base is found in 200 of 200 stacks; without the right ventricle in 199, and in one it is
# unknown.
LEAST_DIFFERENCE = 0.05

OPEN = "less than half of the blood's circumference is myocardium"
BLOODLESS = "there is myocardium, but no blood"
BEYOND = "it lies beyond a slice that does not count"
BEAT = "it does not count in most frames of this part of the beat"
ISLAND = "slices without the ventricle separate it from the other slices"
NO_WALL = "it lies beyond the last slice with myocardium"
NOT_CHOSEN = "it was not chosen"
NO_DIRECTION = "base and apex cannot be told apart, so every slice counts"
LEFT, RIGHT = "left ventricle", "right ventricle"


@dataclasses.dataclass(frozen=True)
class Counting:
    """How to decide which slices count, and which frames are end diastole and end systole. All are counted from 0.

    Attributes:
        basal: SCMR or ALL.
        slices: the first and the last slice that count, in all frames; None to let `basal` decide.
        ed, es: the frames; None for those with the largest and the smallest LV cavity.
    """

    basal: str = SCMR
    slices: tuple[int, int] | None = None
    ed: int | None = None
    es: int | None = None


@dataclasses.dataclass(frozen=True)
class SliceCount:
    """Which slices of a mask count.

    Attributes:
        rule: SCMR, ALL or CHOSEN.
        base_first: whether the first slice is nearer to the base than the last one; None if it is not known.
        shares: (T, Z) share of the cavity's circumference that is myocardium; NaN without a cavity.
        counts: (2, T, Z) bool: slices in which the left (0) and the right ventricle (1) were drawn and count.
        reasons: (2, T, Z) why a slice in which the ventricle was drawn does not count; "" for the others.
        remark: why the rule could not be applied; "" if it was.
        ed, es: the frames that the user chose; None for those with the largest and the smallest LV cavity.
    """

    rule: str
    base_first: bool | None
    shares: np.ndarray
    counts: np.ndarray
    reasons: np.ndarray
    remark: str = ""
    ed: int | None = None
    es: int | None = None

    @property
    def left_out(self) -> np.ndarray:
        """(T, Z) bool: slices of which a ventricle, or both, was left out."""
        return (self.reasons != "").any(0)


def counting_of(
    basal: str = SCMR, slices: str | tuple[int, int] | None = None, ed: int | None = None, es: int | None = None
) -> Counting:
    """Returns the choice of a user, who counts slices and frames from 1, as the pages do.

    Args:
        basal: one of RULES.
        slices: "2-11", "5", or (2, 11); None or "" to let `basal` decide.
        ed, es: frames of end diastole and end systole; None to find them.

    Raises:
        InputError: "slices", "frame" or "basal" if a value cannot be understood.
    """
    if basal not in RULES:
        raise InputError("basal", f"basal is {basal!r}; choose {' or '.join(map(repr, RULES))}")
    for name, frame in (("ed", ed), ("es", es)):
        if frame is not None and frame < 1:
            raise InputError("frame", f"{name}={frame}: frames are counted from 1; pass the number on the page")
    if ed is not None and ed == es:
        raise InputError("frame", f"ed={ed} and es={es} are the same frame; pass two different ones")
    first_last = None if slices is None or slices == "" else _range(slices)
    chosen = None if first_last is None else (first_last[0] - 1, first_last[1] - 1)
    return Counting(basal, chosen, None if ed is None else ed - 1, None if es is None else es - 1)


def _range(slices: str | tuple[int, int]) -> tuple[int, int]:
    if isinstance(slices, str):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:[-–]\s*(\d{1,6})\s*)?", slices)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    else:
        first, last = slices if len(slices) == 2 else (0, 0)
    if not 1 <= first <= last:
        raise InputError(
            "slices", f"slices={slices}: write the first and the last slice that count, from 1 on, such as 2-11"
        )
    return first, last


def enclosed_shares(cavity: np.ndarray, wall: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns the share of each cavity's circumference that is myocardium (Schulz-Menger et al. 2020).

    The circumference consists of the pixel sides between the cavity and the rest, with their lengths in mm. A side
    belongs to the myocardium if the pixel beyond it is myocardium, or the next pixel in the same direction, so that a
    gap of one pixel between blood and wall is no opening. The length of pixel sides depends on the direction, but that
    of a half circle is always half of the whole: the threshold of one half is exact for every direction. Unlike an
    angle about the centre, the length is also right for a crescent, whose centre lies outside.

    Args:
        cavity, wall: boolean (…, H, W). There is no wall outside the image.
        spacing_mm: distances between slices, rows and columns.

    Returns:
        (…) shares in [0, 1]; NaN without a cavity.
    """
    _, row_mm, column_mm = require_spacing(spacing_mm)
    sides = [(0, 0)] * (cavity.ndim - 2) + [(2, 2), (2, 2)]
    cavity, wall = np.pad(cavity, sides), np.pad(wall, sides)
    whole, walled = np.zeros(cavity.shape[:-2]), np.zeros(cavity.shape[:-2])
    for axis, side_mm in ((-2, column_mm), (-1, row_mm)):
        for step in (1, -1):
            beside = cavity & ~np.roll(cavity, -step, axis)
            met = np.roll(wall, -step, axis) | np.roll(wall, -2 * step, axis)
            whole += side_mm * beside.sum((-2, -1))
            walled += side_mm * (beside & met).sum((-2, -1))
    return np.divide(walled, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def base_from_mask(mask: np.ndarray, *, classes: Sequence[str], spacing_mm: Sequence[float]) -> bool | None:
    """Returns whether the first slice is nearer to the base, from the half with more myocardium and right ventricle.

    The cavity is not used: in an aneurysm of the apex, it is larger there. Neither is the myocardium of slices in which
    it surrounds less than half of the blood: at the base, such fragments would look like an apex.

    Args:
        mask: (T, Z, H, W) class indices.
        classes: names by index, with myocardium and cavity.
        spacing_mm: distances between slices, rows and columns.

    Returns:
        None if the halves differ by less than LEAST_DIFFERENCE of their sum, or there are fewer than two slices.
    """
    mask = _cut_to_heart(require_mask(mask, classes))
    cavity, wall, right = _structures(mask, classes)
    closed = enclosed_shares(cavity, wall, spacing_mm) >= LEAST_SHARE
    sizes = np.where(closed, wall.sum((2, 3)), 0).sum(0) + right.sum((0, 2, 3))
    shown = np.flatnonzero(sizes)
    half = 0 if not len(shown) else int(shown[-1] - shown[0] + 1) // 2
    first, last = (int(sizes[part].sum()) for part in (_span(shown, half), _span(shown, -half)))
    if not half or first == last or abs(first - last) < LEAST_DIFFERENCE * int(sizes.sum()):
        return None
    return first > last


def _span(shown: np.ndarray, half: int) -> slice:
    """Returns the first slices that are shown, or the last ones if `half` is negative; none if it is 0."""
    if half >= 0:
        return slice(0, 0) if not half else slice(int(shown[0]), int(shown[0]) + half)
    return slice(int(shown[-1]) + 1 + half, int(shown[-1]) + 1)


def count_slices(
    mask: np.ndarray,
    *,
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    base_first: bool | None,
    counting: Counting | None = None,
) -> SliceCount:
    """Decides which slices of a short-axis mask count, frame by frame, and coherently over the beat.

    Args:
        mask: (T, Z, H, W) class indices. The last frame is followed by the first.
        classes: names by index, with myocardium and cavity.
        spacing_mm: distances between slices, rows and columns.
        base_first: whether the first slice is nearer to the base than the last one; None if it is not known.
        counting: the rule; None for the default.

    Raises:
        InputError: the mask or the spacing is not valid; "slices" or "frame" if a chosen slice or frame does not exist.
    """
    mask, counting = require_mask(mask, classes), counting or Counting()
    _require_frames(counting, len(mask))
    cut, slices = _cut_to_heart(mask), mask.shape[1]
    cavity, wall, right = _structures(cut, classes)
    shares = enclosed_shares(cavity, wall, spacing_mm)
    sizes = np.stack([(cavity | wall).sum((2, 3)), right.sum((2, 3))])
    drawn = sizes > 0
    nothing = np.full(drawn.shape, "", object)
    everything = SliceCount(counting.basal, base_first, shares, drawn, nothing, ed=counting.ed, es=counting.es)
    if counting.slices is not None:
        first, last = counting.slices
        if last >= slices:
            raise InputError("slices", f"slices={first + 1}-{last + 1}, but there are {slices} slices, counted from 1")
        chosen = (np.arange(slices) >= first) & (np.arange(slices) <= last)
        reasons = np.where(drawn & ~chosen, NOT_CHOSEN, "").astype(object)
        return dataclasses.replace(everything, rule=CHOSEN, counts=drawn & chosen, reasons=reasons)
    if counting.basal == ALL or slices == 1 or not drawn.any():
        return everything
    if base_first is None:
        return dataclasses.replace(everything, remark=NO_DIRECTION)
    order = slice(None, None, -1 if base_first else 1)  # From the apex to the base.
    blood, muscle = (np.any(part[:, order], axis=(2, 3)) for part in (cavity, wall))
    reasons = _decide(sizes[..., order], blood, muscle, shares[:, order])[..., order]
    return dataclasses.replace(everything, counts=drawn & (reasons == ""), reasons=reasons)


def counted_mask(mask: np.ndarray, count: SliceCount, classes: Sequence[str]) -> np.ndarray:
    """Returns the mask without the parts that do not count: the same array if everything counts.

    Args:
        mask: (T, Z, H, W) class indices, of which `count_slices` has told what counts.
        count: which slices count.
        classes: names by index.
    """
    dtype = mask.dtype
    for index, name in enumerate(classes):
        parts = {MYOCARDIUM: 0, "cavity": 0, **dict.fromkeys(RV_CAVITY, 1)}
        if name not in parts or not (count.reasons[parts[name]] != "").any():
            continue
        out = (count.reasons[parts[name]] != "")[..., None, None]
        mask = np.where(out & (mask == index), 0, mask).astype(dtype)
    return mask


def _require_frames(counting: Counting, frames: int) -> None:
    for name, frame in (("ed", counting.ed), ("es", counting.es)):
        if frame is not None and frames < 2:
            raise InputError("frame", f"{name}={frame + 1}, but there is one frame; leave it out, or pass a cine")
        if frame is not None and frame >= frames:
            raise InputError("frame", f"{name}={frame + 1}, but there are {frames} frames, counted from 1")


def _cut_to_heart(mask: np.ndarray) -> np.ndarray:
    """Cuts the planes to the foreground, which is a small part of them; a single pixel if there is none."""
    box = bounding_box(np.any(mask > 0, axis=(0, 1)))
    return mask[..., :1, :1] if box is None else mask[(..., *box.slices)]


def _structures(mask: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns where the cavity, the myocardium and the right ventricle are; the last may be no class."""
    right = next((index for index, name in enumerate(classes) if name in RV_CAVITY), len(classes))
    return mask == classes.index("cavity"), mask == classes.index(MYOCARDIUM), mask == right


def _decide(sizes: np.ndarray, blood: np.ndarray, wall: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns why slices do not count, (2, T, Z). All arguments are in the order from the apex to the base.

    Args:
        sizes: (2, T, Z) px of both ventricles.
        blood, wall: (T, Z) whether there is a cavity, and myocardium.
        shares: (T, Z) of the circumference.
    """
    drawn = sizes > 0
    reasons = np.full(drawn.shape, "", object)
    main = np.stack([_largest_runs(of_side) for of_side in sizes])
    for side, shown in enumerate(drawn):
        together = np.ones(shown.shape, bool)
        for z in np.flatnonzero((shown & ~main[side]).any(0)):
            together[:, z] = coherent(main[side][:, z], votes=shown[:, z])
        out = shown & ~together
        reasons[side][out] = np.where(main[side], BEAT, ISLAND)[out]
    last = drawn.shape[2] - 1
    heart = (main[0] & blood).any(1)  # Without any blood in a frame, nothing shows where the valve is.
    limit, walled = np.full(len(heart), last), np.full(len(heart), last)
    for t in np.flatnonzero(heart):
        run = np.flatnonzero(main[0, t])
        # The valve plane cannot be in the apical half. An open apical slice is another matter: it counts.
        basal = run[len(run) - len(run) // 2 :]
        failed = basal[~(shares[t, basal] >= LEAST_SHARE)]
        limit[t] = failed[0] - 1 if len(failed) else run[-1]
        with_wall = run[wall[t, run]]
        walled[t] = with_wall[-1] if len(with_wall) else last
    place = np.arange(last + 1)
    beyond = place > _coherent_limit(limit, heart, last)[:, None]
    beyond_raw = place > limit[:, None]
    why = np.where(beyond_raw, np.where(~blood, BLOODLESS, np.where(shares < LEAST_SHARE, OPEN, BEYOND)), BEAT)
    left = drawn[0] & beyond & (reasons[0] == "")
    reasons[0][left] = why[left]
    beyond_right = place > _coherent_limit(walled, heart, last)[:, None]
    right = drawn[1] & beyond_right & (reasons[1] == "")
    reasons[1][right] = np.where(place > walled[:, None], NO_WALL, BEAT)[right]
    return reasons


def _largest_runs(sizes: np.ndarray) -> np.ndarray:
    """Marks, in each frame, the run of slices with the largest size, (T, Z); of equal ones the first."""
    marked = np.zeros(sizes.shape, bool)
    for t, row in enumerate(sizes):
        shown = np.flatnonzero(row)
        if len(shown):
            runs = np.split(shown, np.flatnonzero(np.diff(shown) > 1) + 1)
            marked[t, max(runs, key=lambda run: row[run].sum())] = True
    return marked


def _coherent_limit(limit: np.ndarray, votes: np.ndarray, last: int) -> np.ndarray:
    """Returns the most basal slice that counts in each frame, (T,), so that no slice goes in and out several times."""
    inside = np.ones(len(limit), bool)
    kept = np.full(len(limit), -1)
    for z in range(last + 1):
        inside = coherent(limit >= z, votes=votes, within=inside)
        kept += inside
    return kept


def coherent(flags: np.ndarray, *, votes: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
    """Returns flags over a cyclic beat that change at most twice, never for a moment, and agree with most given ones.

    The base moves down once and up once in a beat, so a slice goes out once and comes in once. A part of the beat with
    fewer frames than `least_run` is too short for that: it is decided like its neighbours.

    Args:
        flags: (T,) bool.
        votes: (T,) bool: frames whose flag is known.
        within: (T,) bool: frames in which the result may be true; all, if None.

    Returns:
        (T,) bool: true in all frames, in none, or in one run of them. Of equally good ones, all frames, else none, else
        the longest run, and of these the first one.
    """
    frames = len(flags)
    within = np.ones(frames, bool) if within is None else within
    gain = np.where(votes, np.where(flags, 1, -1), 0)
    least = least_run(frames)
    always = bool(within.all() and gain.sum() >= 0)
    best, chosen = (int(gain.sum()) if always else 0, frames), np.full(frames, always)
    for start in np.flatnonzero(within):
        order = np.roll(np.arange(frames), -start)
        stops = np.flatnonzero(~within[order])
        sums = np.cumsum(gain[order[: stops[0]] if len(stops) else order])
        for length in range(least, min(len(sums), frames - least) + 1):
            if (int(sums[length - 1]), length) > best:
                best, chosen = (int(sums[length - 1]), length), np.zeros(frames, bool)
                chosen[order[:length]] = True
    return chosen


def least_run(frames: int) -> int:
    """Returns the smallest number of frames for which a slice goes in or out: a tenth of the beat, and at least two.

    In heartbeats of fewer than six frames, it is one frame.
    """
    return max(1, min(max(2, -(-frames // 10)), frames // 3))
