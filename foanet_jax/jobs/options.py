"""The command line's options, and which jobs read them."""

from absl import flags
from ml_collections import config_flags

from foanet_jax.jobs.export import FORMATS
from foanet_jax.training.weights import DTYPES

MODES = """run: train, evaluate, report. cv: that on all folds. ablate: all rows of the experiment's table on all folds.
report: tables, figures and a page of what the workdir holds. release: runs as one file that --checkpoint takes."""
CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py or FILE.py:ROW. [default: the phantom's]")
JOBS = ("run", "train", "evaluate", "predict", "check", "cv", "ablate", "report", "export", "release")
MODE = flags.DEFINE_enum("mode", "run", JOBS, MODES)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. [default: runs/NAME, runs/NAME-cv or -ablate]")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of the run, or weights file, whose networks are used; several, or folds, predict as one. "
    "[default: workdir; predict: the weights that came with the package]",
)
RESUME = flags.DEFINE_bool("resume", False, "Go on from the last checkpoints in the workdir.")
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard events beside the log.")
ROWS = flags.DEFINE_list("rows", [], "ablate: only these rows of the table.")
FOLDS = flags.DEFINE_list("folds", [], "cv, ablate: only these folds.")
PROCESSES = flags.DEFINE_integer(
    "processes",
    0,
    "cv, ablate: runs at a time. [default: one a GPU; without, 1] run, train: processes that train together, see "
    "docs/clusters.md. [default: as SLURM, MPI or Kubernetes has started]",
)
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of the first process. [default: the launcher's]")
PROCESS = flags.DEFINE_integer("process", None, "Which of the processes this is, from 0. [default: the launcher's]")
DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "The same bits every time on GPUs too; it takes longer.")
INPUT = flags.DEFINE_multi_string(
    "input", None, "predict: a file, a folder or a pattern; several with commas, or with the option again."
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "predict, export: folder for what is written; predict of one study: the mask's file; release: the file.",
)
THIRD_AXIS = flags.DEFINE_enum("third_axis", "slice", ["slice", "time"], "predict: what a 3D file's third axis is.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "predict, export, release: replace what is there.")
MEMORY_MB = flags.DEFINE_integer("memory_mb", None, "predict: MiB for a forward pass. [default: the training's]")
TTA = flags.DEFINE_enum("tta", None, ["none", "flips", "turns"], "predict: mean over turned images. [the training's]")
PAGES = flags.DEFINE_bool("pages", True, "predict: write a page of each study, and an index of them.")
DICOM_SEG = flags.DEFINE_bool("dicom_seg", False, "predict: of DICOM input, write DICOM segmentations as well.")
FORMAT = flags.DEFINE_enum("format", "stablehlo", FORMATS, "export: what the networks are written as.")
WEIGHTS_DTYPE = flags.DEFINE_enum("weights_dtype", "float32", DTYPES, "release: how numbers are kept.")
LICENCE = flags.DEFINE_string("licence", "", "release: what the weights may be used for.")
CITATION = flags.DEFINE_string("citation", "", "release: what to cite.")

# Options that only some jobs read; elsewhere they are refused.
READ_BY = (
    ((RESUME, TENSORBOARD, COORDINATOR, PROCESS), ("run", "train")),
    ((CHECKPOINT,), ("run", "evaluate", "predict", "export", "release")),
    ((OUTPUT, OVERWRITE), ("predict", "export", "release")),
    ((INPUT, THIRD_AXIS, MEMORY_MB, TTA, PAGES, DICOM_SEG), ("predict",)),
    ((FORMAT,), ("export",)),
    ((WEIGHTS_DTYPE, LICENCE, CITATION), ("release",)),
    ((ROWS, FOLDS), ("cv", "ablate")),
    ((PROCESSES,), ("run", "train", "cv", "ablate")),
    ((DETERMINISTIC,), ("run", "train", "evaluate", "predict", "cv", "ablate")),
)
