"""Sunnybrook Cardiac Data: short-axis stacks of 45 patients at end diastole, read from DICOM; myocardium and cavity.

    python run.py --config experiments/sunnybrook.py --config.data.root=DIR
    python run.py --config experiments/sunnybrook.py:small --config.data.root=DIR        for a CPU

Not in the paper. The recipe is that of experiments/acdc.py. End systole is not used for training, because the experts
drew no outer contour there.
"""

from experiments import acdc


def get_config(row: str = ""):
    config = acdc.get_config(row)
    config.name = "sunnybrook" + config.name.removeprefix("acdc")
    config.data.name = "sunnybrook"
    return config
