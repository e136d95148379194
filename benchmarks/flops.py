"""Counts the operations of the networks as the paper draws them, from the shapes.

A convolution has 2·k²·I·O operations for each pixel. The side branches are counted as drawn: an up-convolution to full
resolution (four taps for each channel and pixel), then a 3×3 convolution to 16 maps. A contestant may save operations
by another form. They are still counted, so that speeds compare in the same way as times.
"""

from benchmarks.cases import Case

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
SIDE_MAPS = 16


def maps(width: float) -> tuple[int, ...]:
    """Returns the numbers of feature maps of the five stages at a fraction of the full width."""
    return tuple(max(1, round(full * width)) for full in WIDTHS)


def forward_flops(case: Case) -> int:
    """Counts the operations of one forward pass of the whole batch. Only convolutions are counted."""
    pixels = case.batch * case.size**2
    total, inputs = 0, 3
    for stage, (depth, outputs) in enumerate(zip(DEPTHS, maps(case.width), strict=True)):
        here = pixels // 4**stage
        convolutions = [(3, inputs, outputs)] + [(3, outputs, outputs)] * (depth - 1)
        if depth == 3 and case.architecture == "net2":
            convolutions += [(3, outputs, outputs)] * 2 + [(1, 3 * outputs, outputs)]
        total += sum(2 * size**2 * i * o * here for size, i, o in convolutions)
        if stage:
            total += 2 * 4 * outputs * pixels
        total += 2 * 9 * outputs * SIDE_MAPS * pixels
        inputs = outputs
    return total + 2 * SIDE_MAPS * len(WIDTHS) * case.classes * pixels


def step_flops(case: Case) -> int:
    """Counts the operations of one step of a case.

    A training step is a forward pass and a backward pass, which costs twice as much as the forward pass.
    """
    return forward_flops(case) * (3 if case.kind == "train" else 1)
