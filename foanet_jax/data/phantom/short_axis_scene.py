"""The surroundings of the heart in a short-axis slice: chest wall, lung, liver, stomach, spleen and vessels.

Body coordinates are those of a standard short-axis view with the heart at the origin. x runs from the sternum to the
left side of the back, and y downwards. The lung is above and to the right, the diaphragm below. Lengths are in mm.
"""

import numpy as np

from foanet_jax.data.phantom import shared as phantom


def draw_scene(
    x: np.ndarray,
    y: np.ndarray,
    pixel_mm: float,
    tissue: dict[str, float],
    patient: int,
    seed: int,
    below: float,
    z: int,
) -> np.ndarray:
    """Draws the static image of one slice without the heart.

    Args:
        x, y: body coordinates of each pixel, mm.
        pixel_mm: pixel size, over which edges are blurred.
        tissue: brightness of each tissue.
        patient, seed: determine the anatomy.
        below: distance of the slice from the middle of the heart towards the apex, mm; the organs depend on it.
        z: index of the slice, for random differences between slices.

    Returns:
        (H, W) float32; blood has a brightness of about 1.
    """
    rng = phantom.random_stream("scene", patient, seed, 1)
    local = phantom.random_stream("scene", patient, seed, 2, z)
    shape = x.shape
    grain = phantom.texture(local, shape, 1.6 / pixel_mm)
    cloud = phantom.texture(local, shape, 9 / pixel_mm)
    fat = np.zeros(shape, np.float32)

    def fill(inside: np.ndarray, value: np.ndarray | float, *, is_fat: bool = False) -> None:
        cover = phantom.coverage(inside, pixel_mm)
        phantom.paint(image, cover, value)
        phantom.paint(fat, cover, float(is_fat))

    def ring(
        cx: float,
        cy: float,
        a: float,
        b: float,
        wall: float,
        inner: np.ndarray | float,
        outer: float,
        rough: float = 0.05,
        within: np.ndarray | None = None,
    ) -> None:
        # A separate random stream, so that the objects drawn later do not depend on whether this one is in the image.
        own = np.random.default_rng(rng.integers(2**32))
        reach = np.float32(1.5 * (max(a, b) + wall))
        near = (np.abs(x - np.float32(cx)) < reach) & (np.abs(y - np.float32(cy)) < reach)
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        away = phantom.blob(x[box] - np.float32(cx), y[box] - np.float32(cy), own, a + wall, b + wall, rough)
        if within is not None:
            away = np.minimum(away, within[box])
        cover = phantom.coverage(away, pixel_mm)
        phantom.paint(image[box], cover, outer)
        phantom.paint(fat[box], cover, 0.0)
        content = inner[box] if isinstance(inner, np.ndarray) else inner
        phantom.paint(image[box], phantom.coverage(away - np.float32(wall), pixel_mm), content)

    image = np.full(shape, 0.01, np.float32)
    half_x, half_y = rng.uniform(84, 104), rng.uniform(125, 165)
    # The heart lies at the front wall of the chest. The middle of the chest is therefore to its right.
    chest_x, chest_y = half_x - rng.uniform(66, 76), rng.uniform(-5, 35)
    fatness, brawn = rng.uniform(5, 20), rng.uniform(9, 17)
    lean = np.float32(rng.normal(0.12, 0.08))
    bx, by = x - np.float32(chest_x) - lean * (y - np.float32(chest_y)), y - np.float32(chest_y)
    theta = np.arctan2(by / half_y, bx / half_x)
    wobble = 8 * phantom.ripple(rng, theta, (2, 3, 4, 5), 0.5)
    pad = fatness * np.clip(phantom.ripple(rng, theta, (1, 2, 3), 0.4), -0.6, 0.9)
    # A superellipse: in an oblique section, the chest has nearly straight sides.
    chest = (1 - (np.abs(bx / half_x) ** 2.8 + np.abs(by / half_y) ** 2.8) ** np.float32(1 / 2.8)) * np.float32(
        half_x
    ) + wobble
    fill(chest + brawn + fatness + pad, tissue["fat"] * (1 + 0.05 * cloud), is_fat=True)
    fill(chest + brawn, tissue["muscle"] * (1 + 0.12 * grain))
    # Strands of fat between the muscle layers of the chest wall.
    strand = np.exp(-(((chest + np.float32(0.5 * brawn) + 2 * cloud) / np.float32(1.6)) ** 2)) * (chest < 0)
    phantom.paint(image, strand * np.float32(rng.uniform(0.3, 0.9)), tissue["fat"])
    for _ in range(int(rng.integers(9, 14))):
        angle = rng.uniform(0, 2 * np.pi)
        rx = chest_x + (half_x + 0.45 * brawn) * np.clip(1.15 * np.cos(angle), -1, 1)
        ry = chest_y + (half_y + 0.45 * brawn) * np.clip(1.15 * np.sin(angle), -1, 1)
        rx += float(lean) * (ry - chest_y)
        ring(rx, ry, rng.uniform(3, 5), rng.uniform(4, 8), 1.5, 0.8 * tissue["fat"], 0.05)
    cavity = chest
    fill(cavity, tissue["lung"] * (1 + 0.25 * cloud))
    _lung_vessels(image, x, y, local, pixel_mm, chest, tissue)

    # Mediastinal and pericardial fat between the heart and the front wall.
    front = np.minimum(chest, phantom.blob(x + rng.uniform(28, 42), y - rng.uniform(-6, 18), rng, 44, 36, 0.08))
    fill(front, tissue["fat"] * rng.uniform(0.75, 1) * (1 + 0.08 * cloud), is_fat=True)

    floor = rng.uniform(33, 46) - 0.10 * below
    dome_at, dome = rng.uniform(40, 75), rng.uniform(0, 30)
    tilt = rng.uniform(-0.25, 0.2)
    diaphragm = (
        np.float32(floor) + np.float32(tilt) * (x + 20) - np.float32(dome) * np.exp(-(((x - dome_at) / 34) ** 2))
    )
    diaphragm += 5 * phantom.ripple(rng, x / 60, (1, 2, 3), 0.6)
    abdomen = np.minimum(y - diaphragm, chest)
    fill(abdomen + 2.5, tissue["muscle"])
    belly = 0.5 * tissue["fat"] + 0.5 * tissue["liver"] + 0.22 * cloud + 0.08 * grain
    fill(abdomen, np.clip(belly, 0.1, 1.2))
    for _ in range(int(rng.integers(10, 18))):
        chyme = rng.uniform(0.1, 1.0) * (1 + 0.2 * cloud + 0.1 * grain)
        at_x, at_y = rng.uniform(-50, 90), floor + rng.uniform(35, 140)
        a, b, wall = rng.uniform(6, 15), rng.uniform(6, 15), rng.uniform(1.5, 3)
        ring(at_x, at_y, a, b, wall, chyme, tissue["muscle"], 0.14, abdomen)
    swell = float(np.clip(1 + 0.004 * below, 0.75, 1.25))
    liver = phantom.blob(
        x + rng.uniform(28, 52),
        y - np.float32(floor + rng.uniform(24, 40)),
        rng,
        swell * rng.uniform(58, 76),
        rng.uniform(36, 54),
    )
    fill(np.minimum(liver, abdomen), tissue["liver"] * (1 + 0.07 * grain + 0.04 * cloud))
    for _ in range(7):
        vx, vy, r = rng.uniform(-80, 5), floor + rng.uniform(10, 60), rng.uniform(1.2, 3.5)
        seen = np.minimum(
            np.minimum(phantom.ellipse(x - np.float32(vx), y - np.float32(vy), 1.8 * r, r), liver), abdomen
        )
        fill(seen, 0.8)
    spleen = phantom.blob(
        x - rng.uniform(64, 84),
        y - np.float32(floor - 0.6 * dome + rng.uniform(26, 48)),
        rng,
        rng.uniform(18, 28),
        rng.uniform(28, 42),
    )
    fill(np.minimum(spleen, abdomen), tissue["spleen"] * (1 + 0.06 * grain))
    # A full stomach is bright fluid with a dark wall beside the heart, the object that is easiest to confuse with it.
    a, b = rng.uniform(13, 26), rng.uniform(11, 22)
    stomach_x, stomach_y = rng.uniform(18, 48), floor - 0.5 * dome + b + rng.uniform(5, 16)
    fluid = tissue["blood"] * rng.choice([0.35, 0.6, 0.95]) * (1 + 0.12 * cloud + 0.08 * grain)
    ring(stomach_x, stomach_y, a, b, rng.uniform(3, 7), fluid, tissue["myocardium"], 0.08, abdomen)
    if rng.random() < 0.6:
        ring(
            rng.uniform(45, 75),
            floor + rng.uniform(60, 85),
            17,
            21,
            9,
            0.5 * tissue["fat"],
            tissue["spleen"],
            0.05,
            abdomen,
        )

    # Descending aorta, pulmonary and mediastinal vessels: bright discs in dark rings.
    r = rng.uniform(9, 13.5)
    ring(
        rng.uniform(44, 62),
        rng.uniform(8, 30) - 0.15 * below,
        r,
        r * rng.uniform(0.95, 1.2),
        2.2,
        0.95 + 0.05 * grain,
        tissue["muscle"],
    )
    for _ in range(int(rng.integers(1, 4))):
        r = rng.uniform(4, 9)
        ring(
            rng.uniform(-30, 70),
            rng.uniform(-85, -48),
            r,
            r * rng.uniform(1, 1.6),
            1.5,
            rng.uniform(0.6, 1),
            tissue["muscle"],
        )
    if rng.random() < 0.5:
        r = rng.uniform(16, 24)
        ring(
            rng.uniform(-5, 60),
            rng.uniform(75, 115),
            r,
            r * rng.uniform(0.9, 1.1),
            rng.uniform(5, 9),
            0.95 + 0.1 * cloud,
            tissue["myocardium"],
        )
    # In bSSFP, water and fat in one voxel cancel each other, which gives dark rims.
    image *= 1 - np.float32(2.2) * fat * (1 - fat)
    return np.maximum(image, 0)


def _lung_vessels(
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    pixel_mm: float,
    chest: np.ndarray,
    tissue: dict[str, float],
) -> None:
    """Draws small bright vessels into the lung, in place; only the pixels of each vessel are computed."""
    inside = np.argwhere(chest > 6)
    if not len(inside):
        return
    for row, column in inside[rng.integers(len(inside), size=70)]:
        r = float(np.clip(rng.lognormal(0.1, 0.5), 0.5, 4))
        long = r * rng.uniform(1, 3)
        n = int(np.ceil(long / pixel_mm)) + 2
        box = (slice(max(row - n, 0), row + n + 1), slice(max(column - n, 0), column + n + 1))
        angle = rng.uniform(0, np.pi)
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v = x[box] - x[row, column], y[box] - y[row, column]
        cover = phantom.coverage(phantom.ellipse(c * u + s * v, c * v - s * u, long, r), 1.5 * pixel_mm)
        phantom.paint(image[box], cover, float(rng.uniform(0.25, 0.9)) * tissue["blood"])
