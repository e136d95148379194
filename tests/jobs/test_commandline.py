"""Both programs: what they understand, what they refuse, what they say and how they end."""

import contextlib
import errno
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from foanet_jax import __version__
from foanet_jax.jobs import commandline, dispatch, export, helping, startup
from foanet_jax.jobs.helping import FOANET, RUN_PY
from foanet_jax.jobs.options import GROUPS, JOBS, OPTIONS, Option, options_of
from foanet_jax.system.errors import InputError, did_you_mean
from foanet_jax.training.weights import DTYPES

ROOT = Path(__file__).parents[2]
PHANTOM = ROOT / "experiments" / "phantom.py"
PROGRAMS = (FOANET, RUN_PY)
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
# What takes seconds to import.
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "numpy", "scipy", "matplotlib", "nibabel", "pydicom", "experiments"}


def read(program, line):
    """What a command line says; `line` is without the program."""
    default = PHANTOM if program == RUN_PY else None
    return commandline.read(["program", *shlex.split(line)], program=program, default=default)


def told(program, line):
    """The help or the version of a command line."""
    return commandline.information(["program", *shlex.split(line)], program=program)


# The table


def test_the_rows_of_one_option_differ_in_jobs_group_and_texts_only():
    kinds = {}
    for option in OPTIONS:
        kinds.setdefault(option.name, []).append((option.kind, option.default, option.choices))
        assert option.group in GROUPS
        assert set(option.jobs) <= {job.name for job in JOBS}
        assert option.text.endswith(".")
        assert (option.kind == "choice") == bool(option.choices)
        assert option.kind in ("switch", "choice") or option.value
    assert all(kind == rows[0] for rows in kinds.values() for kind in rows)
    for job in JOBS:
        rows = [option.name for option in OPTIONS if job.name in option.jobs]
        assert len(rows) == len(set(rows)), job.name
        assert set(job.arguments) | set(job.needs) <= set(rows)


def test_every_job_is_done_by_a_function():
    assert list(dispatch.BY_JOB) == [job.name for job in JOBS]


def test_the_choices_are_those_of_the_functions():
    assert options_of("export")["format"].choices == export.FORMATS
    assert options_of("release")["weights_dtype"].choices == DTYPES


# What they understand


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_the_example_of_a_job_is_a_command_and_the_same_one_in_both_programs(job, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = [helping.example(program, job) for program in PROGRAMS]
    assert lines[0].startswith(f"foanet {job.name}")
    assert lines[1].startswith(f"python run.py --mode {job.name}")
    console, script = (read(program, line.removeprefix(program)) for program, line in zip(PROGRAMS, lines, strict=True))
    named = dict(job.example)
    assert console.job == script.job == job.name
    assert {**script.values, **console.values} == script.values
    plain = {name: value[0] if isinstance(value, list) and value else value for name, value in console.values.items()}
    assert all(plain[name] == value for name, value in named.items() if name in plain)
    if "config" in named:
        assert console.config == script.config
        assert console.config["data"]["root"] == named.get("config.data.root", "")
    elif job.config == "refused":
        assert console.config is None
    else:
        assert console.config is None, "WORKDIR says all there is to say"


def test_the_options_of_run_py_have_the_values_they_always_had():
    given = read(RUN_PY, "--mode predict --input=a --output b --nopages -tta flips --memory_mb 64 --overwrite=true")
    expected = {
        "input": ["a"],
        "output": "b",
        "third_axis": "slice",
        "spacing_mm": [],
        "series": [],
        "repeats": "last",
        "incomplete": False,
        "checkpoint": None,
        "tta": "flips",
        "overwrite": True,
        "pages": False,
        "dicom_seg": False,
        "memory_mb": 64,
        "deterministic": False,
        "workdir": None,
    }
    assert {name: given.values[name] for name in expected} == expected
    assert commandline.paths("runs/a,runs/b") == [Path("runs/a"), Path("runs/b")]
    assert commandline.paths(None) == []


def test_a_spacing_is_three_numbers():
    given = read(RUN_PY, "--mode predict --input=a --output b --spacing_mm=8,1.25,1.5")
    assert commandline.spacing(given["spacing_mm"]) == [8, 1.25, 1.5]
    assert commandline.spacing([]) is None
    with pytest.raises(InputError, match="--spacing_mm=8,x"):
        commandline.spacing(["8", "x"])


def test_without_options_run_py_runs_the_phantom():
    given = read(RUN_PY, "")
    assert (given.job, given.config["name"]) == ("run", "phantom")
    assert given.command == ["program", f"--config={PHANTOM}"]
    assert (given["resume"], given["processes"], given["process"], given["coordinator"]) == (False, 0, None, "")


def test_fields_of_the_experiment_are_overridden():
    line = "--mode cv --config.seed=3 --config.segmentation.prepare.foa=False --config.data.patients 7 --folds=0,2"
    given = read(RUN_PY, line)
    assert (given.config["seed"], given.config["data"]["patients"]) == (3, 7)
    assert given.config["segmentation"]["prepare"]["foa"] is False
    assert given["folds"] == ["0", "2"]
    assert commandline.whole_numbers("folds", given["folds"]) == [0, 2]


def test_values_of_the_console_command_stand_anywhere(tmp_path):
    for line in ("predict a b --tta=flips", "predict --tta flips a b", "predict a --tta flips --output=b"):
        given = read(FOANET, line)
        assert (given["input"], given["output"], given["tta"]) == (["a"], "b", "flips")
    given = read(FOANET, "report runs/acdc")
    assert (given["workdir"], given.config) == ("runs/acdc", None)
    assert given.command == ["program", "report", "runs/acdc"]
    words = ["/site/foanet_jax/__main__.py", "doctor"]
    assert commandline.read(words, program=FOANET).command == ["-m", "foanet_jax", "doctor"]


def test_an_option_that_is_given_many_times_takes_all_words_but_the_last():
    rows = {name: Option(name, (), "Input", "", kind) for name, kind in (("input", "many"), ("output", "text"))}
    for line in ("a b c", "--input=a --input b c", "a b --output c"):
        values, config = commandline.read_options(rows, line.split(), positional=("input", "output"))
        assert (values, config) == ({"input": ["a", "b"], "output": "c"}, None)
    values, _ = commandline.read_options(rows, ["a"], positional=("input", "output"))
    assert values == {"input": ["a"], "output": None}


def test_options_of_a_file_are_read(tmp_path):
    (tmp_path / "flags").write_text("--input=a\n--output=b\n")
    assert read(RUN_PY, f"--mode predict --flagfile={tmp_path / 'flags'}")["input"] == ["a"]


def test_an_experiment_elsewhere_finds_its_package(tmp_path):
    folder = tmp_path / "project" / "my_experiments"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "base.py").write_text("from ml_collections import ConfigDict\nBASE = ConfigDict({'name': 'mine'})\n")
    (folder / "one.py").write_text("from my_experiments.base import BASE\n\n\ndef get_config():\n    return BASE\n")
    before = list(sys.path)
    try:
        assert read(FOANET, f"train --config={folder / 'one.py'}").config == {"name": "mine"}
    finally:
        sys.path[:] = before


# What they refuse


@pytest.mark.parametrize(
    ("program", "line", "says"),
    [
        (FOANET, "predcit a b", "predcit: there is no such job; did you mean predict? choose one of predict|measure|"),
        (RUN_PY, "--mode=evalaute", "--mode=evalaute: there is no such job; did you mean evaluate? choose one of"),
        (FOANET, "--input=a", "write the job first, such as foanet predict STUDIES OUT"),
        (FOANET, "predict a", "foanet predict also needs OUTPUT, for example: foanet predict STUDIES OUT"),
        (RUN_PY, "--mode=predict", "--mode predict also needs --input, --output, for example: python run.py"),
        (FOANET, "export a b c", "left over: c; write every option as --name=value"),
        (RUN_PY, "a", "left over: a; write"),
        (
            RUN_PY,
            "--config.segmentation.prepare.foa false",
            "left over: false; write --config.segmentation.prepare.foa=",
        ),
        (RUN_PY, "predict", "left over: predict; run.py takes the job as an option: python run.py --mode predict"),
        (
            RUN_PY,
            "predict --input=a --output=b",
            "left over: predict; run.py takes the job as an option: python run.py",
        ),
        (
            RUN_PY,
            "--resume evaluate a",
            "left over: evaluate a; run.py takes the job as an option: python run.py --mode",
        ),
        (RUN_PY, "--mode predict --input=a --output=b --pages False", "left over: False; write --pages=False"),
        (FOANET, "predict --pages False a b", "left over: False; write --pages=False"),
        (FOANET, "predict a b --overwrite true", "left over: true; write --overwrite=true"),
        (
            RUN_PY,
            "--mode cv --config=experiments/lvquan19.py --rows=c",
            "--rows is not read by --mode cv, only by ablate; for one row, write --config=FILE.py:ROW",
        ),
        (FOANET, "predict a b --overwrit", "--overwrit: there is no such option; did you mean --overwrite? see foanet"),
        (FOANET, "predict a b --xyzzy", "--xyzzy: there is no such option; see foanet predict --help"),
        (RUN_PY, "--rows=a", "--rows is not read by --mode run, only by ablate"),
        (FOANET, "predict a b --nopages --resume", "--resume is not read by foanet predict, only by run, train"),
        (FOANET, "predict a b --config.seed=1", "--config.seed is not read by foanet predict: the checkpoint has its"),
        (FOANET, "doctor --config=x.py", "--config is not read by foanet doctor"),
        (FOANET, "predict a b --memory_mb=big", "--memory_mb=big: write a whole number"),
        (FOANET, "predict a b --pages=perhaps", "--pages=perhaps: write True or False"),
        (FOANET, "predict a b --tta=flip", "--tta=flip: did you mean flips? choose one of none|flips|turns"),
        (FOANET, "predict a b --checkpoint", "--checkpoint: the value is missing; write --checkpoint=PATH"),
        (RUN_PY, "--mode", "--mode: the job is missing; python run.py --help lists the jobs"),
        (
            FOANET,
            "cv",
            "foanet cv also needs --config=FILE, such as --config=experiments/acdc.py; experiment files are",
        ),
        (FOANET, "report", "foanet report also needs WORKDIR, for example: foanet report runs/acdc"),
        (RUN_PY, "--config=experiments/acd.py", "no such file; did you mean experiments/acdc.py? name one such as"),
        (RUN_PY, "--config=experiments/phantom.py:quikc", "quikc: there is no such row; did you mean quick? choose"),
        (RUN_PY, "--config.data.patient=3", "--config.data.patient: the configuration has no field data.patient; did"),
        (RUN_PY, "--config.localisation.enabled=False", "did you mean localization.enabled? see docs/configuration.md"),
        (RUN_PY, "--config.segmentation.foa=False", "did you mean segmentation.prepare.foa? see docs/configuration.md"),
        (
            RUN_PY,
            "--config.train.batch_size=4",
            "did you mean localization.train.batch_size or segmentation.train.batch_size? see",
        ),
        (
            RUN_PY,
            "--config.train.batchsize=4",
            "did you mean localization.train.batch_size or segmentation.train.batch_size? see",
        ),
        (RUN_PY, "--config.foa=False", "did you mean localization.prepare.foa or segmentation.prepare.foa? see"),
        (RUN_PY, "--config.segmentation.batch_size=4", "did you mean segmentation.train.batch_size? see"),
        (RUN_PY, "--config.segmentation.train.batch_sise=4", "did you mean segmentation.train.batch_size? see"),
        (RUN_PY, "--config.nothing=1", "--config.nothing: the configuration has no field nothing; see docs/"),
        (RUN_PY, "--config.sed=1", "no field sed; did you mean seed? see docs/"),
        (RUN_PY, "--config.seed=a", "--config.seed=a: not a value that this field can have; its default is 0"),
        (RUN_PY, "--flagfile=nowhere", "--flagfile: "),
    ],
)
def test_a_wrong_command_is_told_in_one_line(program, line, says, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError) as caught:
        read(program, line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == ("missing-file" if "no such file;" in says else "arguments")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(:", "this experiment cannot be loaded: SyntaxError: invalid syntax"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1", "has no attribute 'get_config'"),
        ("def get_config():\n    raise ValueError('two\\nlines')", "lines"),
        ("def get_config():\n    return 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_experiment_that_fails_is_told_in_one_line(text, says, tmp_path, monkeypatch):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # as ml_collections calls every experiment
    with pytest.raises(InputError, match=r"^--config=\S+wrong\.py: ") as caught:
        read(RUN_PY, f"--config={path}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"--folds=0,x: write whole numbers, separated by commas"):
        commandline.whole_numbers("folds", ["0", "x"])


def test_only_a_name_that_is_like_another_is_suggested():
    assert did_you_mean("predcit", ["predict", "report"]) == "did you mean predict? "
    assert did_you_mean("banana", ["predict", "report"]) == ""
    assert did_you_mean("predict", ["predict"]) == ""


# What they say


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_overview_has_each_job_with_its_example(program):
    text = re.sub(r" \\\n +", " ", told(program, "--help"))
    for job in JOBS:
        assert f"  {job.name}" in text
        assert job.summary in " ".join(text.split())
        assert helping.example(program, job) in text
    assert told(FOANET, "") == told(FOANET, "--help")
    assert told(RUN_PY, "") == ""


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_the_help_of_a_job_has_its_options_and_no_others(program, job):
    text = told(program, f"{job.name} --help" if program == FOANET else f"--mode={job.name} --help")
    assert text == told(program, f"--help {job.name}" if program == FOANET else f"-h --mode {job.name}")
    own = options_of(job.name)
    for name in {option.name for option in OPTIONS}:
        positional = program == FOANET and name in job.arguments
        assert bool(re.search(rf"  --{name}\b", text)) == (name in own and not positional), name
        assert (f"  {name.upper()}  " in text) == positional
    named = [option for option in own.values() if program == RUN_PY or option.name not in job.arguments]
    assert [line[:-1] for line in text.splitlines() if line[:-1] in GROUPS] == [
        group for group in GROUPS if group in {option.group for option in named}
    ]


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_as_wide_as_the_terminal(program, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = told(program, "--helpfull").splitlines()
    too_long = [line for line in lines if len(line) > columns]
    assert [line for line in too_long if not line.startswith(("Usage", "       python", "Options of"))] == []
    assert max(map(len, lines)) > columns - 10


def test_a_wrapped_example_is_one_command_of_the_shell(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    (evaluate,) = [job for job in JOBS if job.name == "evaluate"]
    whole = helping.example(RUN_PY, evaluate)
    lines = helping.command_lines(whole, column=2)
    assert len(lines) > 1
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(whole)


def test_defaults_are_told():
    text = " ".join(told(FOANET, "predict --help").split())
    assert "[default: slice]" in text
    assert "--pages=False Write no web pages. [default: a page for each study, and an index]" in text
    assert "in MiB. Lower it where memory is short. [default: as the model was configured]" in text


def test_the_version_is_told():
    assert told(FOANET, "--version") == told(RUN_PY, "--version") == f"foanet-jax {__version__}\n"


@pytest.mark.parametrize("words", [["run.py", "--help"], ["run.py", "--mode=predict", "--help"], ["-m", "foanet_jax"]])
def test_help_does_not_wait_for_jax(words):
    program = f"""
import runpy, sys
sys.argv = {words[-1:] if words[0] == "-m" else words!r}
try:
    {f"runpy.run_module({words[1]!r}, run_name='__main__')" if words[0] == "-m" else "runpy.run_path('run.py', run_name='__main__')"}
except SystemExit as end:
    print(end.code, *sorted({{name.partition('.')[0] for name in sys.modules}}))
"""  # noqa: E501
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert "foanet_jax" in modules
    assert HEAVY & set(modules) == set()


# How they end


HEAVY_IMPORTS = """
import sys
from foanet_jax.jobs import commandline, dispatch
given = commandline.read(["run.py", *sys.argv[1:]], program="python run.py")
try:
    dispatch.work(given)
finally:
    print(*sorted({"jax", "flax", "nibabel", "pydicom", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize("path", ["none.nii", "none/*.nii"])
def test_a_mistyped_input_does_not_wait_for_the_networks(path, tmp_path):
    options = ["--mode", "predict", "--input", str(tmp_path / path), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", HEAVY_IMPORTS, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "no such file or folder" in done.stderr or "no file or folder fits" in done.stderr
    assert done.stdout == "\n"
    assert not (tmp_path / "out").exists()


@pytest.fixture
def quiet(monkeypatch):
    """Programs that change nothing of this process."""
    monkeypatch.setattr(startup, "hide_warnings", lambda: None)


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "status", "says"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (raising(InputError("missing-file", "x: no such file")), 2, "error: missing-file: x: no such file\n"),
        (raising(KeyboardInterrupt()), 130, "interrupted\n"),
        (raising(BrokenPipeError(errno.EPIPE, "Broken pipe")), 0, ""),
        (raising(SystemExit(3)), 3, ""),
        (raising(SystemExit("text")), 1, ""),
        (raising(PermissionError(errno.EACCES, "Permission denied", "/o")), 2, "error: unwritable: /o: Permission den"),
        (raising(OSError(errno.EROFS, "Read-only file system", "/o")), 2, "error: unwritable: /o: Read-only file"),
        (raising(NotADirectoryError(errno.ENOTDIR, "Not a directory", "/o/x")), 2, "error: output-path: /o/x: Not a"),
        (raising(OSError(errno.ENOSPC, "No space left on device", "/")), 2, "error: disk-full: /: the disk is full"),
        (raising(RuntimeError("a mistake")), 1, "Traceback"),
    ],
)
def test_how_a_program_ends(quiet, capsys, work, status, says):
    with pytest.raises(SystemExit) as caught:
        commandline.end(work)
    assert caught.value.code == status
    told = capsys.readouterr().err
    assert told.startswith(says)
    assert bool(told) == bool(says)
    assert told.count("\n") <= 1 or says == "Traceback"


def test_an_interrupt_that_an_import_hides_is_an_interrupt(quiet, capsys):
    def work():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    with pytest.raises(SystemExit) as caught:
        commandline.end(work)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_prediction_that_is_stopped_says_what_is_left(name, status, hidden, capsys):
    def work():
        with commandline.interruptible("what was segmented is in OUT"):
            try:
                signal.raise_signal(signal.Signals[name])
            except SystemExit as error:
                raise ImportError if hidden else error  # noqa: B904
            raise AssertionError("not reached")

    with pytest.raises(SystemExit) as caught:
        work()
    assert caught.value.code == status
    assert capsys.readouterr().out == "interrupted; what was segmented is in OUT\n"


@pytest.mark.parametrize("command", ["run.py --help", "-m foanet_jax predict --help", "run.py --mode doctor"])
def test_a_closed_pipe_ends_without_a_word(command):
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.closing(os.fdopen(writer, "w")) as pipe:
        done = subprocess.run(
            [sys.executable, *command.split()], cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


WARNING = """
import logging, sys, warnings
from foanet_jax.jobs import commandline, startup
def work():
    startup.show_messages()
    warnings.warn("overflow encountered", RuntimeWarning)
    logging.getLogger("matplotlib").warning("building the font cache")
    logging.getLogger("foanet_jax.jobs").warning("ours")
commandline.end(work)
"""


@pytest.mark.parametrize(
    ("options", "variable", "shown"), [([], "", False), (["-Wdefault"], "", True), ([], "default", True)]
)
def test_warnings_of_other_packages_are_for_those_who_ask(options, variable, shown):
    environment = {**os.environ, "PYTHONWARNINGS": variable}
    done = subprocess.run(
        [sys.executable, *options, "-c", WARNING], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ours\n"
    assert ("RuntimeWarning: overflow encountered" in done.stderr) == shown
    assert bool(done.stderr) == shown


def test_tests_see_warnings_as_errors():
    assert not logging.getLogger("foanet_jax").disabled
    with pytest.raises(UserWarning):
        warnings.warn("seen", UserWarning, stacklevel=1)
