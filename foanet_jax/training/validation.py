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
from foanet_jax.training.examples import TrainingStudy, prepare_study


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation studies of one network, preprocessed once.

    Attributes:
        studies: all validation studies.
        prepared: the preprocessed studies of this process, by index.
        memory_bytes: memory limit of a forward pass.
    """

    studies: Sequence[TrainingStudy]
    prepared: Mapping[int, Prepared]
    memory_bytes: int

    def score(self, network: Network) -> float:
        """Computes the mean Dice over studies and foreground classes, for each study on the network's grid."""
        values = np.zeros((len(self.studies), self.studies[0].classes - 1))
        for number, prepared in self.prepared.items():
            study = self.studies[number]
            along = network.prepare.neighbours
            triples = neighbours(*study.labels.shape[:2], cyclic=study.cyclic, along=along)
            together = slices_together([network], prepared.images.shape[1:], len(triples), self.memory_bytes)
            with explaining_out_of_memory(study.original.name):
                maps = probability_maps(network, prepared, triples, together=together)
                rows, columns = prepared.extent
                predicted = likeliest(maps)[:, :rows, :columns]
            truth = np.asarray(prepared.labels)[:, :rows, :columns]
            values[number] = [dice(predicted == c, truth == c) for c in range(1, study.classes)]
        return float(distributed.gathered(values).sum(axis=0).ravel().mean())


def prepare_validation(studies: Sequence[TrainingStudy], spec: PrepareSpec, *, memory_bytes: int) -> Validation:
    """Preprocesses the validation studies of this process: all studies, or its share if there are several processes."""
    prepared = {number: prepare_study(studies[number], spec) for number in distributed.mine(len(studies))}
    return Validation(studies, prepared, memory_bytes)
