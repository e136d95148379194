"""The paper's second experiment: MM-WHS2017, 20 MR volumes, seven structures (Table II, Fig. 9).

    python run.py --config experiments/mmwhs2017.py --config.data.root=DIR

Needs a GPU at full width. The paper's result over five folds: myocardium DC 0.851, no augmentation.
"""

from experiments.common import common, with_row


def get_config(row: str = ""):
    config = common("mmwhs2017")
    config.data.validation_fraction = 0.0
    config.data.cyclic = False
    config.evaluation.checkpoint = "last"
    return with_row(config, row)
