"""A child of test_security.py: predicts and evaluates with a run's checkpoints, watched by an audit hook.

python -m tests.watched RUN INPUT OUTPUT CONFIG   with the evaluation's configuration as a JSON file
python -m tests.watched MODULE                    imports a module, to show that the hook sees it
"""

import importlib
import json
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORBIDDEN = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")


def watch() -> None:
    """From here on the process ends where a program starts, or code runs that is not installed nor the project's."""
    installed = {Path(path) for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)}
    installed |= {path.resolve() for path in installed}
    project = [ROOT / name for name in ("foanet_jax", "experiments", "tests")]

    def hook(event: str, arguments: tuple) -> None:
        file = ""
        if event == "exec":
            file = arguments[0].co_filename
        elif event == "compile":
            file = arguments[1].decode() if isinstance(arguments[1], bytes) else arguments[1] or ""
        told = event in FORBIDDEN
        # Code that libraries make of strings, dataclasses for one, has names such as <string>.
        places = (*installed, *project)
        foreign = file and not file.startswith("<") and not any(Path(file).is_relative_to(place) for place in places)
        if told or foreign:
            raise SystemExit(f"forbidden: {event} {file or arguments[:2]}")

    sys.addaudithook(hook)


def main(run: str, source: str, output: str, config: str) -> None:
    """Predicts a file, then evaluates a data set."""
    from foanet_jax.jobs.experiment.evaluating import evaluate
    from foanet_jax.jobs.prediction import predict

    watch()
    assert predict(Path(run), Path(source), Path(output), third_axis="slice", overwrite=False, pages=False) == 0
    evaluate(json.loads(Path(config).read_text()), Path(run), Path(run))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        watch()
        importlib.import_module(sys.argv[1])
    else:
        main(*sys.argv[1:])
