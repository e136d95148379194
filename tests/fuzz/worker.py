"""A child that may crash: it tries a range of mutations within bounded memory and notes where it is.

python -m tests.fuzz.worker FORMAT SEED START STOP PROGRESS RESULT
"""

import json
import mmap
import resource
import struct
import sys
from pathlib import Path

MEMORY_BYTES = 3 * 2**30


def main(name: str, run_seed: int, start: int, stop: int, progress: Path, result: Path) -> None:
    """Writes a Tally as JSON to `result`; `progress` always holds the number of the mutation being tried."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # After the limit, so that importing counts.
    from tests.fuzz.attempts import bench, run

    with open(progress, "r+b") as file, mmap.mmap(file.fileno(), 8) as place, bench(name) as at:
        # Shared with the file: what was written last is there even after a segmentation fault.
        tally = run(at, run_seed, range(start, stop), started=lambda index: struct.pack_into("<q", place, 0, index))
    result.write_text(json.dumps(vars(tally)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]), Path(sys.argv[6]))
