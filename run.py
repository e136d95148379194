"""FOANet from the command line; see README.md.

python run.py                                                        the phantom experiment, whole
python run.py --config experiments/acdc.py --config.data.root=DIR    another experiment
python run.py --mode predict --checkpoint RUN --input FILE_OR_FOLDER --output DIR
"""

import logging
import os
import sys
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from foanet_jax import experiment
from foanet_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", "experiments/phantom.py", "The experiment, FILE.py or FILE.py:ROW.")
MODE = flags.DEFINE_enum("mode", "run", ["run", "train", "evaluate", "predict"], "run: train, then evaluate.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. [default: runs/NAME]")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of the run whose networks are used. [default: workdir]")
RESUME = flags.DEFINE_bool("resume", False, "Go on from the last checkpoints in the workdir.")
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard events beside the log.")
INPUT = flags.DEFINE_string("input", None, "predict: a file or a folder of files.")
OUTPUT = flags.DEFINE_string("output", None, "predict: folder for masks and pictures.")
THIRD_AXIS = flags.DEFINE_enum("third_axis", "slice", ["slice", "time"], "predict: what a 3D file's third axis is.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "predict: replace masks that are there.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        # `--config.foa false` would mean True and leave "false" behind.
        raise InputError("arguments", f"left over: {' '.join(argv[1:])}; write every option as --name=value")
    if MODE.value == "predict":
        missing = [f"--{flag.name}" for flag in (CHECKPOINT, INPUT, OUTPUT) if flag.value is None]
        if missing:
            raise InputError("arguments", f"--mode predict also needs {', '.join(missing)}")
        sys.exit(
            experiment.predict(
                Path(CHECKPOINT.value),
                Path(INPUT.value),
                Path(OUTPUT.value),
                third_axis=THIRD_AXIS.value,
                overwrite=OVERWRITE.value,
            )
            > 0
        )
    try:
        config = CONFIG.value.to_dict()
    except FileNotFoundError as error:
        raise InputError("missing-file", f"--config: {error}") from None
    workdir = Path(WORKDIR.value or f"runs/{config['name']}")
    if MODE.value in ("run", "train"):
        experiment.train(config, workdir, resume=RESUME.value, tensorboard=TENSORBOARD.value, command=sys.argv)
    if MODE.value in ("run", "evaluate"):
        experiment.evaluate(config, workdir, Path(CHECKPOINT.value or workdir))


def checked(argv: list[str]) -> None:
    """Runs `main`; bad input ends with one line and status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger("foanet_jax").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells its options at every start.
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "foanet_jax"))
    jax.config.update("jax_compilation_cache_dir", cache)
    try:
        main(argv)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    app.run(checked)
