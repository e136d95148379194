"""The paper's main experiment: LVQuan19, 56 patients with 20 frames each; myocardium and cavity (Table I, Figs. 3–8).

    python run.py --config experiments/lvquan19.py --config.data.root=DIR
    python run.py --config experiments/lvquan19.py:c --config.data.root=DIR       a row of Table I

The full width needs a GPU. The paper's result over five folds: myocardium DC 0.879, 95HD 1.826, BDC 0.306.
"""

from experiments.common import ROWS, chosen, common, with_rows


def get_config(row: str = ""):
    config = common("lvquan19")
    config.data.validation_fraction = 0.0  # The paper trains for a fixed time and selects no checkpoint.
    config.evaluation.checkpoint = "last"
    config.segmentation.augment.rotation_degrees = 180.0  # The images of LVQuan19 have no common orientation.
    config.segmentation.augment.flip = True
    with_rows(config, ROWS, title="Table I: LVQuan19", reference="i")
    return chosen(config, row)
