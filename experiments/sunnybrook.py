"""Sunnybrook Cardiac Data: short-axis stacks at end diastole of 45 patients, from DICOM; myocardium, cavity.

    python run.py --config experiments/sunnybrook.py --config.data.root=DIR
    python run.py --config experiments/sunnybrook.py:small --config.data.root=DIR        for a CPU

Not in the paper. The recipe of experiments/acdc.py. Nothing is trained on end systole: experts drew no outer contour
there.
"""

from experiments import acdc


def get_config(row: str = ""):
    config = acdc.get_config(row)
    config.name = "sunnybrook" + config.name.removeprefix("acdc")
    config.data.name = "sunnybrook"
    return config
