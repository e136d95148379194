"""FOANet from the command line; see README.md.

python run.py                                                        the phantom experiment, whole
python run.py --config experiments/acdc.py --config.data.root=DIR    another experiment
python run.py --mode predict --checkpoint RUN --input FILE_OR_FOLDER --output DIR
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from foanet_jax import experiment
from foanet_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py or FILE.py:ROW. [default: the phantom's]")
MODE = flags.DEFINE_enum("mode", "run", ["run", "train", "evaluate", "predict", "check"], "run: train, evaluate.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. [default: runs/NAME]")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of the run whose networks are used. [default: workdir]")
RESUME = flags.DEFINE_bool("resume", False, "Go on from the last checkpoints in the workdir.")
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard events beside the log.")
INPUT = flags.DEFINE_string("input", None, "predict: a file or a folder of files.")
OUTPUT = flags.DEFINE_string("output", None, "predict: folder for masks and pictures.")
THIRD_AXIS = flags.DEFINE_enum("third_axis", "slice", ["slice", "time"], "predict: what a 3D file's third axis is.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "predict: replace masks that are there.")


def set_up() -> None:
    """Messages to the terminal, compiled programs to a cache that later runs read."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger("foanet_jax").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells its options at every start.
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "foanet_jax"))
    jax.config.update("jax_compilation_cache_dir", cache)


def main(argv: list[str]) -> None:
    set_up()
    if len(argv) > 1:
        # `--config.foa false` would mean True and leave "false" behind.
        raise InputError("arguments", f"left over: {' '.join(argv[1:])}; write every option as --name=value")
    if MODE.value == "predict":
        paths = {flag.name: flag.value for flag in (CHECKPOINT, INPUT, OUTPUT)}
        missing = [f"--{name}" for name, value in paths.items() if not value]
        if missing:
            raise InputError("arguments", f"--mode predict also needs {', '.join(missing)}")
        run, source, output = (Path(str(value)) for value in paths.values())
        failures = experiment.predict(run, source, output, third_axis=THIRD_AXIS.value, overwrite=OVERWRITE.value)
        sys.exit(failures > 0)
    config = CONFIG.value.to_dict()
    workdir = Path(WORKDIR.value or f"runs/{config['name']}")
    if MODE.value == "check":
        sys.exit(experiment.check(config, workdir) > 0)
    if MODE.value in ("run", "train"):
        experiment.train(config, workdir, resume=RESUME.value, tensorboard=TENSORBOARD.value, command=sys.argv)
    if MODE.value in ("run", "evaluate"):
        experiment.evaluate(config, workdir, Path(CHECKPOINT.value or workdir))


def with_experiment(argv: list[str]) -> list[str]:
    """The arguments with the phantom experiment added where they name none; a missing file is refused by name."""
    names = [argument.lstrip("-").partition("=")[0] for argument in argv]
    if "config" not in names:
        return [argv[0], f"--config={Path(__file__).parent / 'experiments' / 'phantom.py'}", *argv[1:]]
    place = names.index("config")
    _, assigned, value = argv[place].partition("=")
    value = value if assigned else "".join(argv[place + 1 : place + 2])
    if not Path(value.partition(":")[0]).is_file():
        raise InputError("missing-file", f"--config={value}: no such file; name one such as experiments/phantom.py")
    return argv


def parse(_) -> list[str]:
    """Reads the flags and the experiment file; returns what was not a flag."""
    sys.argv = with_experiment(sys.argv)  # config_flags looks for overrides there.
    try:
        return flags.FLAGS(sys.argv)
    except (AttributeError, KeyError) as error:
        raise InputError("arguments", f"the configuration has no field {error}; see experiments/common.py") from None
    except (flags.Error, TypeError, ValueError) as error:
        what = str(error).strip().splitlines()[-1]  # An experiment's own error comes with its traceback.
        raise InputError("arguments", f"{what}; --helpfull lists the options") from None


def guarded(function: Callable) -> Callable:
    """The function with bad input ending the program in one line and status 2."""

    def call(argv: list[str]):
        try:
            return function(argv)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)

    return call


if __name__ == "__main__":
    app.run(guarded(main), flags_parser=guarded(parse))
