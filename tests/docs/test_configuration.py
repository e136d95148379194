"""docs/configuration.md lists every field of experiments/common.py with its default and its docstring."""

import re

from experiments.common import common
from foanet_jax.system.nesting import dotted
from foanet_jax.training.spec import NETWORKS
from tests.docs.make_configuration import PATH, page


def test_the_page_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == page(), "run python -m tests.docs.make_configuration"


def test_every_field_is_named_and_described():
    text = PATH.read_text(encoding="utf-8")
    for name in dotted(common("any").to_dict()):
        if name.startswith("rows."):
            continue
        stage, *rest = name.split(".")
        field = name if stage not in NETWORKS or len(rest) == 1 or rest[1] == "architecture" else rest[1]
        assert re.search(rf"^\| `{re.escape(field)}` \| `.+` \| \S.+ \|$", text, re.MULTILINE), name
