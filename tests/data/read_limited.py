"""A child of test_bombs.py: reads files with little more memory than its own code takes.

python -m tests.data.read_limited MIB SOUND FILE… reads SOUND, limits the address space to what it takes by then and
MIB more (0: no limit), and prints what came of each FILE with its seconds and the growth of peak memory, as JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from foanet_jax.data.catalogue import read_input
from foanet_jax.system.errors import InputError


def main(mib: int, sound: str, *files: str) -> None:
    """Prints {file: [code or traceback's last line, seconds, MiB]}."""
    for path in sorted(Path(sound).iterdir()):
        _outcome(path)
    if mib:
        limit = _status("VmSize") + mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found: dict[str, Any] = {}
    for name in files:
        before, began = _status("VmHWM"), time.perf_counter()
        found[Path(name).name] = [
            _outcome(Path(name)),
            time.perf_counter() - began,
            (_status("VmHWM") - before) / 2**20,
        ]
    sys.stdout.write(json.dumps(found))


def _outcome(path: Path) -> str:
    try:
        for ref in read_input(path):
            ref.load()
    except InputError as error:
        return error.code
    except Exception as error:
        return repr(error)
    return "read"


def _status(key: str) -> int:
    """Bytes of /proc/self/status: VmSize, the address space, or VmHWM, the peak of memory in use."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
