"""The temporal-like pseudo-colour image: three successive frames or slices as red, green, blue (Fig. 4)."""

import numpy as np

NEIGHBOURS = ("auto", "frames", "slices", "none")


def neighbours(frames: int, slices: int, *, cyclic: bool, along: str = "auto") -> np.ndarray:
    """(frames·slices, 3) flat indices (n − 1, n, n + 1) into a (T, Z, …) array with its leading axes merged.

    Neighbours run over time where there is more than one frame, else over slices. At the ends they wrap
    around (`cyclic`: a cine covers one heart beat) or the end itself repeats; slices never wrap. A network that
    trained on stacks alone knows neighbouring slices only: `along` tells which it shall see on any study.

    Args:
        frames, slices: T and Z.
        cyclic: whether the last frame precedes the first.
        along: "auto" as above, "frames" or "slices" always, "none" for each slice three times.
    """
    index = np.arange(frames * slices).reshape(frames, slices)
    if along == "none":
        triples = [index, index, index]
    elif along == "frames" or (along == "auto" and frames > 1):
        around = ((1, 1), (0, 0))
        padded = np.pad(index, around, "wrap") if cyclic else np.pad(index, around, "edge")
        triples = [padded[:-2], index, padded[2:]]
    else:
        padded = np.pad(index, ((0, 0), (1, 1)), "edge")
        triples = [padded[:, :-2], index, padded[:, 2:]]
    return np.stack(triples, axis=-1).reshape(-1, 3)


def temporal_like(images, triples):
    """(N, H, W) images as (M, H, W, 3) pseudo-colour images: channel c of image m is images[triples[m, c]]."""
    return images[triples].transpose(0, 2, 3, 1)
