"""The temporal-like image (Fig. 4): three successive frames or slices as the channels red, green and blue."""

import numpy as np

NEIGHBOURS = ("auto", "frames", "slices", "none")


def neighbours(frames: int, slices: int, *, cyclic: bool, along: str = "auto") -> np.ndarray:
    """Returns the indices (n − 1, n, n + 1) of each slice and its two neighbours (Fig. 4).

    With "auto", neighbours are frames if the study has more than one frame, else slices. At the ends of a stack, the
    first and the last slice are repeated. At the ends of a cine, the first and the last frame are repeated unless it is
    `cyclic`. A network that was trained only on stacks has seen only neighbouring slices; for such a network, set
    `along` to "slices" for all studies.

    Args:
        frames, slices: T and Z.
        cyclic: whether a cine covers one heart beat, so that its last frame precedes its first.
        along: "auto", "frames", "slices", or "none", which repeats each slice three times.

    Returns:
        (T·Z, 3) indices into the merged leading axes of a (T, Z, …) array.
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
    """Builds temporal-like images: channel c of image m is images[triples[m, c]].

    Args:
        images: (N, H, W).
        triples: (M, 3) indices, see `neighbours`.

    Returns:
        (M, H, W, 3).
    """
    return images[triples].transpose(0, 2, 3, 1)
