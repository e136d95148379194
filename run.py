"""FOANet from the command line; see README.md.

python run.py                                                        the phantom experiment, whole
python run.py --config experiments/acdc.py --config.data.root=DIR    another experiment
python run.py --mode ablate --config experiments/lvquan19.py --config.data.root=DIR     Table I, five folds
python run.py --mode predict --checkpoint RUN --input FILE_OR_FOLDER --output DIR
python run.py --mode export --checkpoint RUN --output DIR            networks that run without this project
python run.py --mode release --checkpoint RUN --output FILE.safetensors                 a run as one file of weights
"""

from pathlib import Path

from absl import flags

from foanet_jax.jobs import commandline, dispatch, options
from foanet_jax.system.errors import InputError

flags.adopt_module_key_flags(options)  # `--help` lists them.


def main(argv: list[str]) -> None:
    commandline.set_up(deterministic=options.DETERMINISTIC.value)
    if len(argv) > 1:
        # `--config.foa false` would mean True and leave "false" behind.
        raise InputError("arguments", f"left over: {' '.join(argv[1:])}; write every option as --name=value")
    commandline.refuse_unread(options.MODE.value, options.READ_BY)
    dispatch.BY_MODE[options.MODE.value]()


if __name__ == "__main__":
    commandline.start(main, default=Path(__file__).parent / "experiments" / "phantom.py")
