"""The pictures on the page of a study, each with a title and a caption."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foanet_jax.measures.indices.segments import (
    RING_NAMES,
    THIRDS,
    base_comes_first,
    known_mean,
    ring_thickness,
    segment_thickness,
    slice_thirds,
)
from foanet_jax.pages.drawing.beat import MOST_SLICES, draw_beat
from foanet_jax.pages.drawing.bullseye import draw_bullseye
from foanet_jax.pages.drawing.contours import draw_contours
from foanet_jax.pages.drawing.timecurves import draw_time_curves
from foanet_jax.pages.study_page.result import StudyResult

# The same scale for all patients, so that pages can be compared.
_THICKNESS_MM, _THICKENING_PERCENT = (0.0, 20.0), (0.0, 100.0)


class Picture(NamedTuple):
    """A picture as the bytes of a file: a PNG, or a GIF if it is an animation."""

    name: str
    title: str
    caption: str
    content: bytes


def beating_heart(result: StudyResult) -> Picture | None:
    """Draws the animation of a cine; None for other studies."""
    frames, slices = result.mask.shape[:2]
    if frames < 2:
        return None
    known = result.frame_seconds is not None
    caption = "Real speed." if known else "One heartbeat takes a second, because the time between frames is not known."
    if slices > 1:
        drawn = np.count_nonzero(result.mask.any((0, 2, 3))) or slices
        some = f" ({MOST_SLICES} of the {drawn} slices that show the heart)" if drawn > MOST_SLICES else ""
        caption = f"The numbers are those of the slices{some}. {caption}"
    return _drawn(
        "beat",
        "The beating heart",
        caption,
        lambda path: draw_beat(
            result.study.voxels,
            result.mask,
            spacing_mm=result.study.spacing_mm,
            classes=result.study.classes,
            path=path,
            marks=_marks(result, ("end diastole", "end systole")),
            frame_seconds=result.frame_seconds,
        ),
        suffix=".gif",
    )


def contours(result: StudyResult) -> Picture:
    """Draws slices and frames with their contours."""
    return _drawn(
        "contours",
        "Contours",
        f"Only the region of the heart is shown, {_seen(result)}. The slices are in the order of the file.",
        lambda path: draw_contours(
            result.study.voxels,
            result.mask,
            spacing_mm=result.study.spacing_mm,
            classes=result.study.classes,
            title=result.study.case,
            path=path,
            marks=_marks(result, ("ED", "ES")),
        ),
    )


def localization(result: StudyResult) -> Picture | None:
    """Draws the box of the heart, with and without margin, on a few slices of one frame; None if there is no box."""
    if not result.boxes:
        return None
    frame = result.end_frames[0] or 0
    return _drawn(
        "localization",
        "Localization",
        "The inner box is where the heart was found. The outer box has a margin; only its inside was segmented.",
        lambda path: draw_contours(
            result.study.voxels[frame : frame + 1],
            result.mask[frame : frame + 1],
            spacing_mm=result.study.spacing_mm,
            classes=result.study.classes,
            title=result.study.case,
            path=path,
            boxes=result.boxes,
            most_tiles=3,
        ),
    )


def bullseyes(result: StudyResult) -> Iterator[Picture]:
    """Draws wall thickness at end diastole and end systole, and the thickening between them, if they are known.

    A study of one frame may show any moment of the heartbeat. Its moment is not named.
    """
    if result.indices is None:
        return
    diastole, systole = (_rings(result, frame) for frame in result.end_frames)
    thickening = None
    if diastole is not None and systole is not None:
        thickening = [100 * (late / early - 1) for early, late in zip(diastole, systole, strict=True)]
    if len(result.mask) < 2:
        yield from _bullseye(result, "wall", "Wall thickness", diastole, "mm", _THICKNESS_MM, "In this frame.")
        return
    yield from _bullseye(result, "ed", "End diastole", diastole, "mm", _THICKNESS_MM, "Wall thickness.")
    yield from _bullseye(result, "es", "End systole", systole, "mm", _THICKNESS_MM, "Wall thickness.")
    caption = "How much thicker the wall is at end systole than at end diastole."
    yield from _bullseye(result, "thickening", "Thickening", thickening, "%", _THICKENING_PERCENT, caption)


def time_curves(result: StudyResult) -> Iterator[Picture]:
    """Draws volumes (of a single slice: areas) and wall thickness over the frames of a cine."""
    if len(result.mask) < 2:
        return
    yield from _curves(result, "volumes", "Volumes", "volume (ml)", volume_curves(result))
    if result.indices is None:
        return
    if result.mask.shape[1] == 1:
        areas = {
            "LV cavity": result.indices.cavity_area_mm2[:, 0],
            "myocardium": result.indices.myocardium_area_mm2[:, 0],
        }
        yield from _curves(result, "areas", "Areas", "area (mm²)", areas)
    yield from _curves(result, "thickness", "Wall thickness", "wall thickness (mm)", thickness_curves(result))


def volume_curves(result: StudyResult) -> dict[str, np.ndarray]:
    """Returns the volumes to show, each (T,): those of the ventricles if they were measured, else of all structures."""
    if result.ventricle is not None:
        sides = {"LV": result.ventricle.left, "RV": result.ventricle.right}
        return {f"{name} cavity": side.volumes_ml for name, side in sides.items() if np.isfinite(side.volumes_ml).any()}
    return dict(result.volumes_ml)


def thickness_curves(result: StudyResult) -> dict[str, np.ndarray]:
    """Returns mean wall thickness over the frames, each (T,): of the sectors of a slice, or the thirds of a stack."""
    indices = result.indices
    assert indices is not None
    if indices.flags.shape[1] == 1:
        names = RING_NAMES if result.oriented else [f"{-60 * number % 360}°" for number in range(6)]
        return dict(zip(names, ring_thickness(indices.rwt_mm[:, 0]).T, strict=True))
    base_first = _base_first(result)
    means = np.full((len(THIRDS), len(indices.flags)), np.nan)
    for t, areas in enumerate(indices.cavity_area_mm2):
        thirds = slice_thirds(areas, base_first=base_first)
        for third in range(len(THIRDS)):
            means[third, t] = known_mean(indices.rwt_mm[t, thirds == third].ravel(), 0)
    return dict(zip(THIRDS, means, strict=True))


def _base_first(result: StudyResult) -> bool:
    """Whether the first slice is nearer to the base than the last one."""
    assert result.indices is not None
    return base_comes_first(result.indices.cavity_area_mm2) if result.base_first is None else result.base_first


def _seen(result: StudyResult) -> str:
    return "seen from the apex" if result.view is not None else "as it is stored in the file"


def _rings(result: StudyResult, frame: int | None) -> list[np.ndarray] | None:
    """Returns the rings of the bull's-eye at a frame: basal, mid and apical; only one for a single slice."""
    indices = result.indices
    if indices is None or frame is None:
        return None
    if indices.flags.shape[1] == 1:
        return [ring_thickness(indices.rwt_mm[frame, 0])]
    # The thirds are those of this frame, because the base moves down in systole.
    thirds = slice_thirds(indices.cavity_area_mm2[frame], base_first=_base_first(result))
    return np.split(segment_thickness(indices.rwt_mm[frame], thirds), (6, 12))


def _bullseye(
    result: StudyResult,
    name: str,
    title: str,
    rings: list[np.ndarray] | None,
    unit: str,
    limits: tuple[float, float],
    caption: str,
) -> Iterator[Picture]:
    if rings is not None and any(np.isfinite(ring).any() for ring in rings):
        yield _drawn(
            f"bullseye-{name}",
            title,
            caption,
            lambda path: draw_bullseye(
                rings,
                title=title,
                unit=unit,
                limits=limits,
                path=path,
                oriented=result.oriented,
                mirrored=result.may_be_mirrored,
            ),
        )


def _curves(
    result: StudyResult, name: str, title: str, ylabel: str, curves: dict[str, np.ndarray]
) -> Iterator[Picture]:
    if any(np.isfinite(curve).any() for curve in curves.values()):
        yield _drawn(
            name,
            title,
            "ED: end diastole, ES: end systole.",
            lambda path: draw_time_curves(
                curves,
                ylabel=ylabel,
                title=title,
                path=path,
                marks=_marks(result, ("ED", "ES")),
                frame_seconds=result.frame_seconds,
            ),
        )


def _marks(result: StudyResult, names: tuple[str, str]) -> dict[int, str]:
    if len(result.mask) < 2:
        return {}
    return {frame: name for frame, name in zip(result.end_frames, names, strict=True) if frame is not None}


def _drawn(name: str, title: str, caption: str, draw: Callable[[Path], None], suffix: str = ".png") -> Picture:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture{suffix}"
        draw(path)
        return Picture(name, title, caption, path.read_bytes())
