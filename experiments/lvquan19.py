"""The paper's main experiment: LVQuan19, 56 patients of 20 frames, myocardium and cavity (Tables I, Figs. 5–8).

    python run.py --config experiments/lvquan19.py --config.data.root=DIR
    python run.py --config experiments/lvquan19.py:c --config.data.root=DIR       a row of Table I

Needs a GPU at full width. The paper's result over five folds: myocardium DC 0.879, 95HD 1.826, BDC 0.306.
"""

from experiments.common import ROWS, chosen, common, with_rows


def get_config(row: str = ""):
    config = common("lvquan19")
    config.data.validation_fraction = 0.0  # The paper trains for a fixed time and chooses nothing.
    config.evaluation.checkpoint = "last"
    config.segmentation.augment.rotation_degrees = 180.0  # LVQuan19's images have no common orientation.
    config.segmentation.augment.flip = True
    with_rows(config, ROWS, title="Table I: LVQuan19", reference="i")
    return chosen(config, row)
