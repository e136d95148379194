"""The paper's second experiment: MM-WHS2017, 20 MR volumes, seven structures (Table II, Fig. 9).

    python run.py --config experiments/mmwhs2017.py --config.data.root=DIR
    python run.py --mode ablate --config experiments/mmwhs2017.py --config.data.root=DIR      Table II, five folds

The full width needs a GPU. The paper's result over five folds: myocardium DC 0.851, without augmentation.
"""

from experiments.common import NO_FOA, Row, chosen, common, with_rows

ROWS = {
    "csd": Row("BLP+CSD", NO_FOA),
    "i": Row("BLP+FOA+CSD", {}, {"dc": 0.851}),
    "unet": Row("U-Net", {"segmentation.network.architecture": "unet"}),
}
TITLE = (
    "Table II. Others on the training data, as the paper quotes them: DC 0.796 (best of the challenge), 0.752 (second)"
)


def get_config(row: str = ""):
    config = common("mmwhs2017")
    config.data.validation_fraction = 0.0
    config.data.cyclic = False
    config.evaluation.checkpoint = "last"
    with_rows(config, ROWS, title=TITLE, reference="i")
    return chosen(config, row)
