"""docs/command-line.md has every job and option, as the table of options has them."""

import re

from foanet_jax.jobs.options import JOBS, options_of
from tests.docs.make_command_line import PATH, page


def test_the_page_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == page(), "run python -m tests.docs.make_command_line"


def test_every_option_of_every_job_is_named_and_described():
    text = PATH.read_text(encoding="utf-8")
    for job in JOBS:
        (section,) = re.findall(rf"^## {job.name}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
        assert job.summary in section
        for name in options_of(job.name):
            assert re.search(rf"^\| `--{name}[=`].+\| \S.+ \| \S.+ \|$", section, re.MULTILINE), (job.name, name)
