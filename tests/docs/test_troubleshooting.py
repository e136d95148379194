"""docs/troubleshooting.md names every code of an error, and no other."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTED = {"unwritable"}  # of predictions.json alone


def codes(source):
    """The codes of the InputErrors that a program makes; of a name, what it may be set to."""
    tree = ast.parse(source)
    found, names = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "InputError":
            code = node.args[0]
            found |= {code.value} if isinstance(code, ast.Constant) else set()
            names |= {code.id} if isinstance(code, ast.Name) else set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in names:
            found |= {part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)} - {None}
    return {code for code in found if isinstance(code, str)}


def test_a_code_that_is_chosen_first_is_found():
    assert codes("code = 'a' if few else 'b'\nraise InputError(code, f'{path}')\nInputError('c', '')") == {
        "a",
        "b",
        "c",
    }


def test_the_page_has_every_code_once():
    shipped = [ROOT / "run.py", *(ROOT / "foanet_jax").rglob("*.py")]
    raised = set().union(*(codes(path.read_text(encoding="utf-8")) for path in shipped))
    assert len(raised) > 100
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    tables = page.partition("## The command")[2]
    cells = re.findall(r"^\| (`[^|]*) \|", tables, flags=re.MULTILINE)
    named = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    assert sorted(named) == sorted(set(named))
    assert set(named) == raised | NOTED
