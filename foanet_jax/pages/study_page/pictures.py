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
from foanet_jax.pages.drawing.bullseye import draw_bullseye
from foanet_jax.pages.drawing.timecurves import draw_time_curves
from foanet_jax.pages.study_page.result import StudyResult

# The same scale for all patients, so that pages can be compared.
_THICKNESS_MM, _THICKENING_PERCENT = (0.0, 20.0), (0.0, 100.0)


class Picture(NamedTuple):
    """A picture as the bytes of a PNG."""

    name: str
    title: str
    caption: str
    content: bytes


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
    """Draws wall thickness over the frames of a cine."""
    if len(result.mask) < 2 or result.indices is None:
        return
    yield from _curves(result, "thickness", "Wall thickness", "wall thickness (mm)", thickness_curves(result))


def size_curves(result: StudyResult) -> tuple[dict[str, np.ndarray], str]:
    """Returns the volumes of a stack, or the areas of a single slice, each (T,), and their unit."""
    if result.indices is None or result.mask.shape[1] > 1:
        return volume_curves(result), "ml"
    areas = {
        "LV cavity": result.indices.cavity_area_mm2[:, 0],
        "myocardium": result.indices.myocardium_area_mm2[:, 0],
    }
    return areas, "mm²"


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


def _drawn(name: str, title: str, caption: str, draw: Callable[[Path], None]) -> Picture:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        return Picture(name, title, caption, path.read_bytes())
