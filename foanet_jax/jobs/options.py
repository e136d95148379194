"""The table of jobs and options. Option parsing, both help texts and docs/command-line.md are made from it.

To add an option, add a row to OPTIONS, read it in dispatch.py as `given["NAME"]`, and run
`python -m tests.docs.make_command_line`. This module imports only the standard library, so that help is shown at once.
"""

import dataclasses
from typing import Any, Literal

# The kind of a value. The parts of a "list" are separated by commas. A "many" is given once for each part.
Kind = Literal["text", "many", "number", "list", "choice", "switch", "config"]


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of the program.

    Attributes:
        name: the name in `--mode NAME` and `foanet NAME`.
        summary: one sentence.
        example: options and their values; for switches and overrides, only the option.
        arguments: options whose values `foanet NAME` accepts without the names, in this order.
        needs: options that the job requires.
        config: whether the job reads an experiment.
    """

    name: str
    summary: str
    example: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    config: Literal["required", "optional", "refused"] = "required"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, for the jobs that read it. Rows with the same name differ only in jobs, group and texts.

    Attributes:
        name: without the dashes.
        jobs: that read it; the others refuse it.
        group: its heading in the help.
        text: what it does, as the help writes it: without a value, or as --NAME=False if the default is True.
        kind: of its value.
        value: what stands for the value in the help.
        default: without the option.
        default_text: what that means, where the value does not say it.
        choices: of the kind "choice".
    """

    name: str
    jobs: tuple[str, ...]
    group: str
    text: str
    kind: Kind = "text"
    value: str = ""
    default: Any = None
    default_text: str = ""
    choices: tuple[str, ...] = ()


ROOT = ("config.data.root", "DATA/acdc")
ACDC = ("config", "experiments/acdc.py")
JOBS = (
    Job("predict", "Segment studies.", (("input", "STUDIES"), ("output", "OUT")), ("input", "output"),
        ("input", "output"), config="refused"),
    Job("measure", "Measure masks, whoever drew them: corrected ones, those of experts or of other programs.",
        (("input", "IMAGES"), ("masks", "MASKS"), ("output", "OUT")), ("input", "masks", "output"),
        ("input", "masks", "output"), config="refused"),
    Job("check", "Check a data set for damaged files, wrong labels and duplicates.", (ACDC, ROOT)),
    Job("run", "Train both networks on one fold, evaluate them and write the report.", (ACDC, ROOT)),
    Job("train", "Train both networks on one fold.", (ACDC, ROOT)),
    Job("evaluate", "Evaluate trained networks on a data set with labels.", (ACDC, ROOT, ("checkpoint", "runs/acdc"))),
    Job("cv", "Cross-validation: train and evaluate on every fold.", (ACDC, ROOT)),
    Job("ablate", "Ablation study: train and evaluate every row of the experiment's table on every fold.",
        (("config", "experiments/phantom.py:quick"),)),
    Job("report", "Write the tables, figures and page of a finished run, cross-validation or ablation study.",
        (("workdir", "runs/acdc"),), ("workdir",), config="optional"),
    Job("export", "Write the networks of a run as StableHLO or ONNX, to use them without this package.",
        (("checkpoint", "runs/acdc"), ("output", "EXPORT")), ("checkpoint", "output"), ("checkpoint", "output"),
        config="refused"),
    Job("release", "Write the networks of one or several runs as one file of weights.",
        (("checkpoint", "runs/acdc"), ("output", "heart.safetensors")), ("checkpoint", "output"),
        ("checkpoint", "output"), config="refused"),
    Job("doctor", "Show versions, devices, memory, cache and weights, for a bug report.", (), config="refused"),
)  # fmt: skip
DEFAULT_JOB = "run"  # of run.py

STUDIES = ("predict", "measure")
TRAINING = ("run", "train")
SWEEPS = ("cv", "ablate")
WITH_CONFIG = tuple(job.name for job in JOBS if job.config != "refused")
# The headings of the help, in this order.
GROUPS = ("Experiment", "Input", "Model", "Output", "Selection", "Speed and memory", "Several processes")

OPTIONS = (
    Option("config", WITH_CONFIG, "Experiment",
           "Experiment file, or one row or variant of it: FILE.py:ROW.", "config", "FILE.py",
           default_text="run.py: experiments/phantom.py; foanet: none"),
    Option("input", STUDIES, "Input",
           "Image file (NIfTI, NRRD, MetaImage, Analyze, LVQuan19 .mat), DICOM series, folder of them, or pattern such "
           "as 'in/*.nii.gz'. For several, separate them by commas or give the option again.", "many",
           value="PATH"),
    Option("masks", ("measure",), "Input",
           "Mask file (NIfTI, NRRD, seg.nrrd of 3D Slicer, MetaImage, DICOM segmentation), folder of them, or pattern. "
           "A mask has the name of its image, or CASE_seg, CASE_gt, CASE_mask, or CASE_frameNN for one frame.", "many",
           value="PATH"),
    Option("reference", ("measure",), "Input",
           "A second set of masks of the same images. The masks are compared with it: Dice, distances, Bland–Altman.",
           "many", value="PATH", default=[], default_text="none"),
    Option("labels", ("measure",), "Input",
           "What the label values mean, such as rv:1,myocardium:2,cavity:3.", "list", "NAME:VALUE,…", default=[],
           default_text="the names in or beside the masks; else those of this project"),
    Option("third_axis", STUDIES, "Input", "What the third axis of a 3D NIfTI file is.", "choice",
           default="slice", choices=("slice", "time")),
    Option("spacing_mm", (*STUDIES, "check", "evaluate"), "Input",
           "Distances of slices, rows and columns in mm, where those in the headers are wrong, for all files.",
           "list", "Z,Y,X", default=[], default_text="from the header"),
    Option("series", STUDIES, "Input",
           "DICOM series to read: their numbers or UIDs, separated by commas, or all.", "list", "NUMBER,…",
           default=[], default_text="the short-axis cines; all, if there are none"),
    Option("repeats", STUDIES, "Input", "If a DICOM slice was acquired twice: which acquisition to use.",
           "choice", default="last", choices=("last", "first")),
    Option("incomplete", STUDIES, "Input",
           "Also read DICOM stacks in which single slices or frames are missing, or a slice is slightly turned.",
           "switch", default=False),
    Option("patients", STUDIES, "Input",
           "CSV file with height, weight, sex, age and heart rate: the columns study, height_cm, weight_kg, sex, "
           "age_years, heart_rate_bpm. Its values replace those of DICOM headers and of Info.cfg.", value="FILE",
           default_text="DICOM headers, ACDC's Info.cfg"),
    Option("checkpoint", ("predict",), "Model",
           "Folder of a run, or weights file. Several, separated by commas, or a folder of folds, predict together.",
           value="PATH", default_text="the weights of this package"),
    Option("checkpoint", ("run",), "Model",
           "Evaluate these networks, not those that this job trains: folder of a run, or weights file. Several, "
           "separated by commas, predict together.", value="PATH", default_text="the run in --workdir"),
    Option("checkpoint", ("evaluate",), "Model",
           "Folder of the run, or weights file, to evaluate. Several, separated by commas, predict together.",
           value="PATH", default_text="the run in --workdir"),
    Option("checkpoint", ("export",), "Model", "Folder of the run, or weights file, to export.", value="PATH"),
    Option("checkpoint", ("release",), "Model",
           "Folder of the run. Several, separated by commas, or a folder of folds, become one file.", value="PATH"),
    Option("tta", ("predict",), "Model",
           "Test-time augmentation: average over the image alone (none), over 4 views (flips: the image and its mirror "
           "images), or over 8 (turns: these 4, also turned by 90°).",
           "choice", choices=("none", "flips", "turns"), default_text="as the model was configured"),
    Option("temporal", ("predict",), "Model",
           "Cines of at least five frames: each frame for itself (none), or probabilities averaged over two frames "
           "before and after, along the motion of the heart (motion).",
           "choice", choices=("none", "motion"), default_text="as the model was configured"),
    Option("output", ("predict",), "Output",
           "Folder for masks, pictures, pages and tables; or, for one study, the file of its mask (.nii, .nii.gz).",
           value="FOLDER"),
    Option("output", ("export",), "Output", "Folder for the exported networks.", value="FOLDER"),
    Option("output", ("release",), "Output", "File to write; it ends in .safetensors.", value="FILE"),
    Option("output", ("measure",), "Output", "Folder for masks, pictures, pages and tables.", value="FOLDER"),
    Option("training_set", ("measure",), "Output",
           "Also write images and masks as a data set to train on, into the folder training of the output.", "switch",
           default=False),
    Option("overwrite", (*STUDIES, "export", "release"), "Output", "Replace files that exist.", "switch",
           default=False),
    Option("bsa", STUDIES, "Output", "Formula of the body surface area: Mosteller 1987, or Du Bois 1916.",
           "choice", default="mosteller", choices=("mosteller", "dubois")),
    Option("papillary", STUDIES, "Output",
           "What papillary muscles count to in volumes and mass: cavity, as most masks are drawn; or myocardium: the "
           "dark pixels of the cavity are moved, and both volumes are given. Masks stay as they are.",
           "choice", choices=("cavity", "myocardium"), default_text="as drawn, which is cavity for ACDC"),
    Option("pages", STUDIES, "Output", "Write no web pages.", "switch", default=True,
           default_text="a page for each study, and an index"),
    Option("dicom_seg", ("predict",), "Output", "For DICOM input, also write DICOM segmentations.", "switch",
           default=False),
    Option("dicom_seg_cine", ("predict",), "Output",
           "Like --dicom_seg, but with one object for all frames of a cine. 3D Slicer and OHIF do not show its frames "
           "correctly.", "switch", default=False),
    Option("format", ("export",), "Output", "File format of the networks.", "choice", default="stablehlo",
           choices=("stablehlo", "onnx")),
    Option("weights_dtype", ("release",), "Output", "Number format of the weights.", "choice", default="float32",
           choices=("float32", "float16")),
    Option("licence", ("release",), "Output", "Licence of the weights, stored in the file.", value="TEXT", default="",
           default_text="none"),
    Option("citation", ("release",), "Output", "What users of the weights should cite, stored in the file.",
           value="TEXT", default="", default_text="none"),
    Option("workdir", ("run", "train", "evaluate", "check"), "Output", "Folder of the run.", value="FOLDER",
           default_text="runs/NAME, with the experiment's name"),
    Option("workdir", SWEEPS, "Output", "Folder of all runs and of the report.", value="FOLDER",
           default_text="runs/NAME-cv or runs/NAME-ablate"),
    Option("workdir", ("report",), "Output", "Folder of the finished run, cross-validation or ablation study.",
           value="FOLDER", default_text="run.py: runs/NAME; foanet: none"),
    Option("resume", TRAINING, "Output", "Continue from the last checkpoints in the workdir.", "switch",
           default=False),
    Option("tensorboard", TRAINING, "Output", "Also write TensorBoard events.", "switch", default=False),
    Option("basal", ("predict",), "Selection",
           "Which slices of a short-axis heart count: those of the rule of the SCMR, in which at least half of the "
           "blood's circumference is myocardium at the base (scmr), or all that were drawn (all).",
           "choice", default="scmr", choices=("scmr", "all")),
    Option("slices", STUDIES, "Selection",
           "The first and the last slice that count, from 1 as on the page, such as 2-11. They hold for all frames and "
           "studies.", value="FIRST-LAST", default="", default_text="predict: as --basal says; measure: all"),
    Option("ed", STUDIES, "Selection", "Frame of end diastole, from 1 as on the page, for all cines.", "number",
           "FRAME", default_text="the frame with the largest LV cavity"),
    Option("es", STUDIES, "Selection", "Frame of end systole, from 1 as on the page, for all cines.", "number",
           "FRAME", default_text="the frame with the smallest LV cavity"),
    Option("rows", ("ablate",), "Selection", "Only these rows of the table, separated by commas.", "list", "ROW,…",
           default=[], default_text="all"),
    Option("folds", SWEEPS, "Selection", "Only these folds, separated by commas, from 0.", "list", "NUMBER,…",
           default=[], default_text="all"),
    Option("memory_mb", ("predict",), "Speed and memory",
           "Memory for one forward pass, in MiB. Lower it where memory is short.", "number", "MIB",
           default_text="as the model was configured"),
    Option("deterministic", ("run", "train", "evaluate", "predict", *SWEEPS), "Speed and memory",
           "Make the results on a GPU identical, bit by bit, in every run, as they are on a CPU. This is slower.",
           "switch", default=False),
    Option("processes", SWEEPS, "Speed and memory", "Number of runs at the same time, each in its own process.",
           "number", "NUMBER", default=0, default_text="one for each GPU; 1 without a GPU"),
    Option("processes", TRAINING, "Several processes",
           "Number of processes that train together, on one or several machines; see docs/clusters.md.", "number",
           "NUMBER", default=0, default_text="as many as SLURM, MPI or Kubernetes started"),
    Option("coordinator", TRAINING, "Several processes", "Address of the first process.", value="HOST:PORT",
           default="", default_text="from the launcher"),
    Option("process", TRAINING, "Several processes", "Number of this process, from 0.", "number", "NUMBER",
           default_text="from the launcher"),
)  # fmt: skip


def job_named(name: str) -> Job:
    """The job of a name that is in the table."""
    return next(job for job in JOBS if job.name == name)


def options_of(job: str) -> dict[str, Option]:
    """The options that a job reads, by name, in the order of their groups."""
    rows = [option for group in GROUPS for option in OPTIONS if option.group == group and job in option.jobs]
    return {option.name: option for option in rows}


def readers_of(name: str) -> list[str]:
    """The jobs that read an option, in the order of the table."""
    return [job.name for job in JOBS if any(job.name in option.jobs for option in OPTIONS if option.name == name)]
