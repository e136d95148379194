"""The command of each process of a sweep, with a program that only says what it was given."""

from pathlib import Path

import pytest

from experiments.common import ROWS
from foanet_jax.jobs import commandline
from foanet_jax.jobs.helping import RUN_PY
from foanet_jax.jobs.sweep.plan import Job
from foanet_jax.jobs.sweep.processes import OUTPUT, run_in_processes

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
ECHO = ["-c", "import sys; print('\\n'.join(sys.argv[1:]))"]


@pytest.mark.parametrize(
    ("job", "row", "rows"), [("cv", "lvquan19", None), ("ablate", "c", ["c"])], ids=["cross-validation", "ablation"]
)
def test_the_job_reads_the_options_that_select_its_run(job, row, rows, tmp_path):
    words = ["--mode", job, f"--config={ROOT / 'experiments' / 'lvquan19.py'}", "--processes=2"]
    run_in_processes(
        [Job(row, 0), Job(row, 3)], tmp_path, devices=[{}], command=[*ECHO, *words], ablation=job == "ablate"
    )
    for fold in (0, 3):
        (output,) = tmp_path.glob(f"rows/{row}/fold{fold}/{OUTPUT}")
        given = commandline.read(["run.py", *output.read_text().splitlines()], program=RUN_PY)
        assert given.job == job
        assert (given["folds"], given["processes"], given["workdir"]) == ([str(fold)], 1, str(tmp_path))
        assert given.values.get("rows") == rows
        assert rows is None or set(rows) < set(ROWS)
