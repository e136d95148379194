"""The comparison of measured masks with a second set of masks, such as those of another observer."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foanet_jax.data.frames import patient_of_frame
from foanet_jax.data.masks import MaskFile, Pairs, classes_of, named_few
from foanet_jax.data.study import Study
from foanet_jax.jobs.experiment.record import save_run
from foanet_jax.jobs.experiment.scores import EVALUATION, Scores
from foanet_jax.measures.quality.review import Expectations, review_study
from foanet_jax.pages.report import PAGE, make_report
from foanet_jax.pipeline import Prediction
from foanet_jax.system.errors import InputError

LOGGER = logging.getLogger(__name__)
NAME = "comparison"  # of the experiment in the records


def outputs_of(output: Path) -> list[Path]:
    """Returns the files that show that a folder already has a comparison or a run."""
    return [output / "run.json", output / EVALUATION / "scores.csv", output / PAGE]


class Comparison:
    """The scores of masks against a reference, for the classes that both have.

    Args:
        classes: names of the classes of the masks by index.
        pairs: the images with their masks in the reference.
        measured: the cases that have a measured mask.

    Raises:
        InputError: "classes" if the two have no class in common; "no-masks" if no measured study is in the reference.
    """

    def __init__(self, classes: Sequence[str], pairs: Pairs, measured: Sequence[str]) -> None:
        self._start = time.monotonic()
        self.masks: dict[str, tuple[MaskFile, ...]] = {
            pair.ref.case: pair.masks for pair in pairs.pairs if pair.ref.case in measured
        }
        if not self.masks:
            raise InputError(
                "no-masks",
                f"the reference has masks of {named_few([pair.ref.case for pair in pairs.pairs])}, but none of the "
                f"measured studies {named_few(list(measured))}; pass masks of the same images",
            )
        alone = [case for case in measured if case not in self.masks]
        if alone:
            LOGGER.warning("%d studies have no reference and are not compared: %s", len(alone), named_few(alone))
        self.classes = classes_of(file.class_of for files in self.masks.values() for file in files)
        self._compared = tuple(name for name in classes if name in self.classes)
        if len(self._compared) < 2:
            raise InputError(
                "classes",
                f"the masks have the classes {', '.join(classes[1:])}, and the reference "
                f"{', '.join(self.classes[1:])}: none is in both; give the names of the values with "
                "--labels=NAME:VALUE,…",
            )
        left = [name for name in dict.fromkeys([*classes, *self.classes]) if name not in self._compared]
        if left:
            LOGGER.warning("only in one of masks and reference, and not compared: %s", ", ".join(left))
        self._of_mask, self._of_truth = (
            np.array([self._compared.index(name) if name in self._compared else 0 for name in names], np.uint8)
            for names in (classes, self.classes)
        )
        self._scores = Scores(self._compared)

    def in_classes(self, truth: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Returns a mask of the reference with the class indices of the measured masks."""
        index = [classes.index(name) if name in classes else 0 for name in self.classes]
        return np.array(index, np.uint8)[truth]

    def add(self, study: Study, mask: Prediction, truth: np.ndarray, frames: Sequence[int] | None) -> None:
        """Scores the mask of a study.

        Only frames that the reference shows are scored, and only those for which there is a file of the mask: others
        were not drawn. A frame whose file is empty is a miss.

        Args:
            study: the study.
            mask: its mask.
            truth: (T, Z, H, W) uint8 in the classes of the reference.
            frames: the frames for which there are files, from 0; None: all.
        """
        there = [t for t in np.flatnonzero(truth.any(axis=(1, 2, 3))).tolist() if frames is None or t in frames]
        if not there:
            LOGGER.warning("%s: not compared: the reference is empty where the mask was drawn", study.case)
            return
        part = dataclasses.replace(
            study,
            patient=patient_of_frame(study.case) or study.patient,
            voxels=study.voxels[there],
            labels=self._of_truth[truth[there]],
            classes=self._compared,
        )
        chosen = dataclasses.replace(
            mask, mask=self._of_mask[mask.mask[there]], slice_boxes=[None] * (len(there) * study.voxels.shape[1])
        )
        self._scores.add(part, chosen, review_study(part, chosen, Expectations()), frames=there)

    def write(self, output: Path, masks: Sequence[str], reference: Sequence[str], command: Sequence[str]) -> None:
        """Writes `evaluation` and `report` into the folder, as an evaluation of networks does.

        Args:
            output: the folder.
            masks, reference: what the user named, for the record.
            command: the user's command line, for the record.
        """
        if self._scores.empty:
            return
        settings = {"masks": list(masks), "reference": list(reference)}
        config = {"name": NAME, "row": "", "seed": 0, "data": {"name": NAME, "fold": 0}, NAME: settings}
        save_run(config, output, command)
        self._scores.write(output, start=self._start)
        make_report(output)
