"""Masks that others have drawn: finding them, their label values, and their place on the grid of the image."""

from foanet_jax.data.masks.labels import EXCHANGEABLE, OURS, classes_of, parse_labels
from foanet_jax.data.masks.pairing import Pair, Pairs, named_few, pair_masks
from foanet_jax.data.masks.reading import MaskFile, read_mask

__all__ = [
    "EXCHANGEABLE",
    "OURS",
    "MaskFile",
    "Pair",
    "Pairs",
    "classes_of",
    "named_few",
    "pair_masks",
    "parse_labels",
    "read_mask",
]
