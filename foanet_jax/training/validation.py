"""Validation during training: the score that selects the best checkpoint."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from foanet_jax.image.prepare import Prepared, PrepareSpec
from foanet_jax.image.stack import neighbours
from foanet_jax.measures.metrics import dice
from foanet_jax.pipeline import Network, likeliest, probability_maps, slices_together
from foanet_jax.system import distributed
from foanet_jax.system.devices import explaining_out_of_memory
from foanet_jax.training.examples import Case, prepare_case


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation cases of one network, preprocessed once.

    Attributes:
        cases: all validation cases.
        prepared: the preprocessed cases of this process, by index.
        memory_bytes: memory limit of a forward pass.
    """

    cases: Sequence[Case]
    prepared: Mapping[int, Prepared]
    memory_bytes: int

    def score(self, network: Network) -> float:
        """Computes the mean Dice over cases and foreground classes; Dice is per case, on the network's grid."""
        values = np.zeros((len(self.cases), self.cases[0].classes - 1))
        for number, prepared in self.prepared.items():
            case = self.cases[number]
            along = network.prepare.neighbours
            triples = neighbours(*case.labels.shape[:2], cyclic=case.cyclic, along=along)
            together = slices_together([network], prepared.images.shape[1:], len(triples), self.memory_bytes)
            with explaining_out_of_memory(case.study.name):
                maps = probability_maps(network, prepared, triples, together=together)
                rows, columns = prepared.extent
                predicted = likeliest(maps)[:, :rows, :columns]
            truth = np.asarray(prepared.labels)[:, :rows, :columns]
            values[number] = [dice(predicted == c, truth == c) for c in range(1, case.classes)]
        return float(distributed.gathered(values).sum(axis=0).ravel().mean())


def prepare_validation(cases: Sequence[Case], spec: PrepareSpec, *, memory_bytes: int) -> Validation:
    """Preprocesses the validation cases of this process: all of them, or its share if there are several processes."""
    return Validation(
        cases, {number: prepare_case(cases[number], spec) for number in distributed.mine(len(cases))}, memory_bytes
    )
