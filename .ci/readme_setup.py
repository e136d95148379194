"""Prints the README's two set-up commands, one a line."""

import re
from pathlib import Path

text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
section = re.search(r"^## Set-up\n(.*?)^## ", text, flags=re.MULTILINE | re.DOTALL)
if section is None:
    raise SystemExit("README.md has no section `## Set-up`")
commands = re.findall(r"^```bash\n(.+?)\n```$", section.group(1), flags=re.MULTILINE | re.DOTALL)
if len(commands) != 2 or any("\n" in command for command in commands):
    raise SystemExit(f"README.md, `## Set-up`: found {len(commands)} commands; two of one line each are expected")
print("\n".join(commands))
