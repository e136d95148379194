"""What the best checkpoint is chosen by."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from foanet_jax.image.prepare import Prepared
from foanet_jax.image.stack import neighbours
from foanet_jax.metrics import dice
from foanet_jax.pipeline import Network, likeliest, probability_maps, slices_together
from foanet_jax.training.examples import Case


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation studies of one network, prepared once, and what a forward pass on them may take."""

    cases: Sequence[Case]
    prepared: Sequence[Prepared]
    memory_bytes: int

    def score(self, network: Network) -> float:
        """Mean Dice over studies and foreground classes, each study one volume on its network's grid."""
        values = []
        for case, prepared in zip(self.cases, self.prepared, strict=True):
            along = network.prepare.neighbours
            triples = neighbours(*case.labels.shape[:2], cyclic=case.cyclic, along=along)
            together = slices_together([network], prepared.images.shape[1:], len(triples), self.memory_bytes)
            maps = probability_maps(network, prepared, triples, together=together)
            rows, columns = prepared.extent
            predicted = likeliest(maps)[:, :rows, :columns]
            truth = np.asarray(prepared.labels)[:, :rows, :columns]
            values += [dice(predicted == c, truth == c) for c in range(1, case.classes)]
        return float(np.mean(values))
