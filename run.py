"""FOANet from the command line; see README.md.

python run.py                                                        the phantom experiment, whole
python run.py --config experiments/acdc.py --config.data.root=DIR    another experiment
python run.py --mode ablate --config experiments/lvquan19.py --config.data.root=DIR     Table I, five folds
python run.py --mode predict --checkpoint RUN --input FILE_OR_FOLDER --output DIR
python run.py --mode export --checkpoint RUN --output DIR            networks that run without this project
python run.py --mode release --checkpoint RUN --output FILE.safetensors                 a run as one file of weights
"""

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from foanet_jax import commandline, distributed, experiment
from foanet_jax.errors import InputError
from foanet_jax.export import FORMATS, export_model
from foanet_jax.prediction import predict
from foanet_jax.report import make_report
from foanet_jax.sweep.work import sweep

MODES = """run: train, evaluate, report. cv: that on all folds. ablate: all rows of the experiment's table on all folds.
report: tables, figures and a page of what the workdir holds. release: runs as one file that --checkpoint takes."""
CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py or FILE.py:ROW. [default: the phantom's]")
MODE = flags.DEFINE_enum(
    "mode",
    "run",
    ["run", "train", "evaluate", "predict", "check", "cv", "ablate", "report", "export", "release"],
    MODES,
)
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
INPUT = flags.DEFINE_string("input", None, "predict: a file or a folder of files.")
OUTPUT = flags.DEFINE_string("output", None, "predict, export: folder for what is written; release: the file.")
THIRD_AXIS = flags.DEFINE_enum("third_axis", "slice", ["slice", "time"], "predict: what a 3D file's third axis is.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "predict, export, release: replace what is there.")
MEMORY_MB = flags.DEFINE_integer("memory_mb", None, "predict: MiB for a forward pass. [default: the training's]")
TTA = flags.DEFINE_enum("tta", None, ["none", "flips", "turns"], "predict: mean over turned images. [the training's]")
PAGES = flags.DEFINE_bool("pages", True, "predict: write a page of each study, and an index of them.")
DICOM_SEG = flags.DEFINE_bool("dicom_seg", False, "predict: of DICOM input, write DICOM segmentations as well.")
FORMAT = flags.DEFINE_enum("format", "stablehlo", FORMATS, "export: what the networks are written as.")
WEIGHTS_DTYPE = flags.DEFINE_enum("weights_dtype", "float32", experiment.DTYPES, "release: how numbers are kept.")
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


def main(argv: list[str]) -> None:
    commandline.set_up(deterministic=DETERMINISTIC.value)
    if len(argv) > 1:
        # `--config.foa false` would mean True and leave "false" behind.
        raise InputError("arguments", f"left over: {' '.join(argv[1:])}; write every option as --name=value")
    commandline.refuse_unread(MODE.value, READ_BY)
    if MODE.value == "predict":
        source, output = commandline.paths(MODE.value, INPUT, OUTPUT)
        failures = predict(
            commandline.folders(CHECKPOINT.value or "") or [experiment.default_weights()],
            source,
            output,
            third_axis=THIRD_AXIS.value,
            overwrite=OVERWRITE.value,
            dicom_seg=DICOM_SEG.value,
            memory_mb=MEMORY_MB.value,
            pages=PAGES.value,
            tta=TTA.value,
        )
        sys.exit(failures > 0)
    if MODE.value == "export":
        run, output = commandline.paths(MODE.value, CHECKPOINT, OUTPUT)
        export_model(run, output, kind=FORMAT.value, overwrite=OVERWRITE.value)
        return
    if MODE.value == "release":
        run, output = commandline.paths(MODE.value, CHECKPOINT, OUTPUT)
        experiment.release(
            commandline.folders(str(run)),
            output,
            dtype=WEIGHTS_DTYPE.value,
            licence=LICENCE.value,
            citation=CITATION.value,
            overwrite=OVERWRITE.value,
        )
        return
    config = CONFIG.value.to_dict()
    workdir = Path(WORKDIR.value or f"runs/{config['name']}")
    if MODE.value == "check":
        sys.exit(experiment.check(config, workdir) > 0)
    if MODE.value in ("cv", "ablate"):
        with commandline.ending_in_order("the same command"):
            failures = sweep(
                config,
                Path(WORKDIR.value or f"runs/{config['name']}-{MODE.value}"),
                ablation=MODE.value == "ablate",
                rows=ROWS.value,
                folds=commandline.whole_numbers("folds", FOLDS.value),
                processes=PROCESSES.value,
                command=sys.argv,
            )
        sys.exit(failures > 0)
    if MODE.value in ("run", "train"):
        with (
            commandline.training_together(COORDINATOR.value, PROCESSES.value, PROCESS.value),
            commandline.ending_in_order("the same command and --resume"),
        ):
            experiment.train(config, workdir, resume=RESUME.value, tensorboard=TENSORBOARD.value, command=sys.argv)
        if not distributed.is_first():
            return  # The first process does the rest.
    if MODE.value in ("run", "evaluate"):
        folders = commandline.folders(CHECKPOINT.value or str(workdir))
        experiment.evaluate(config, workdir, folders, command=sys.argv)
    if MODE.value in ("run", "evaluate", "report"):
        make_report(workdir)


if __name__ == "__main__":
    commandline.start(main, default=Path(__file__).parent / "experiments" / "phantom.py")
