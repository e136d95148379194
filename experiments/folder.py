"""Your own studies: a folder with a dataset.json (docs/formats.md), or a data set in nnU-Net's layout.

    python run.py --mode check --config experiments/folder.py --config.data.root=DIR     check the data set first
    python run.py --config experiments/folder.py --config.data.root=DIR
    python run.py --config experiments/folder.py:small --config.data.root=DIR            for a CPU
    python run.py --config experiments/folder.py --config.data.name=nnunet --config.data.root=DatasetXXX_NAME

Not in the paper. The recipe is that of experiments/acdc.py. The classes come from dataset.json.
"""

from experiments import acdc


def get_config(row: str = ""):
    config = acdc.get_config(row)
    config.name = "folder" + config.name.removeprefix("acdc")
    config.data.name = "folder"
    return config
