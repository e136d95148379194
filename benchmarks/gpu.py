"""Measures on a GPU, in under eight minutes: training steps compared with PyTorch, and a whole heart.

python -m benchmarks.gpu              on a machine with a GPU
python -m benchmarks.gpu --tiny       on any machine, to check that it works

Of the project's requirements, it needs only JAX, Flax, Optax, SciPy and nibabel.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import Case, tiny
from benchmarks.comparison import Options, compare
from benchmarks.contestants import OURS, PRODUCT, REFERENCE
from benchmarks.report import markdown_table, say, seconds_text, write_json, write_text
from benchmarks.tables import comparison_table

H200_TFLOPS = 790  # speed of large bfloat16 matrix products on an H200
WHOLE_HEART = (171, 325, 324)  # slices, rows, columns of an MM-WHS2017 volume
# The most important cases are first, because the time may run out.
CASES = (
    Case("train-net2-160-bf16", "train", "net2", 160, dtype="bfloat16"),
    Case("train-net2-160", "train", "net2", 160),
    Case("train-net2-160x16-bf16", "train", "net2", 160, batch=16, dtype="bfloat16"),
    Case("train-net2-160x16", "train", "net2", 160, batch=16),
)


def whole_heart(shape: tuple[int, int, int], *, width: float, dtype: str, rounds: int) -> dict[str, Any]:
    """Times a study of the size of MM-WHS2017, from arrays to masks and from file to file.

    It runs in this process, which holds the GPU from then on.
    """
    # These modules are imported only here, so that the GPU stays free for the contestants.
    from benchmarks.predict import model_of, predict_in, true_box
    from benchmarks.timing import timed
    from foanet_jax.data.nifti.file import read_nifti
    from foanet_jax.data.nifti.studies import study_from_volume
    from foanet_jax.data.nifti.write import write_mask, write_nifti
    from foanet_jax.data.phantom.whole_heart import whole_heart_study
    from foanet_jax.data.study import WHOLE_HEART_CLASSES

    study = whole_heart_study(0, shape=shape)
    model = model_of(WHOLE_HEART_CLASSES, cyclic=False, width=width, dtype=dtype)
    box = true_box(study)
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "image.nii.gz", Path(temporary) / "mask.nii.gz"
        write_nifti(study.voxels, affine=study.affine, spacing_mm=study.spacing_mm, path=source)

        def read() -> None:
            kept["study"] = study_from_volume(read_nifti(source), patient="p", case="c", classes=WHOLE_HEART_CLASSES)

        def segment() -> None:
            kept["mask"] = predict_in(study, model, box)

        def write() -> None:
            write_mask(kept["mask"], study, target)

        found = timed([("read", read), ("segment", segment), ("write", write)], rounds)
    return {"shape": list(shape), "crop": list(box.shape), "dtype": dtype, **found}


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; writes gpu.json and gpu.md. Returns 1 if a contestant disagrees with ours, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turn", type=float, default=0.5, help="approximate length of a turn in s")
    parser.add_argument("--budget", type=float, default=360.0, help="no case starts that would end after this many s")
    parser.add_argument("--rivals", nargs="*", choices=("torch", "torch-rewritten"), default=["torch"])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--tiny", action="store_true", help="use the sizes of a test, on the CPU")
    given = parser.parse_args(arguments)
    start = time.monotonic()
    described = machine.describe()
    say(machine.in_words(described))
    options = Options(
        rivals=given.rivals,
        rounds=given.rounds,
        turn_s=given.turn,
        threads=2 if given.tiny else described["cores"],
        device="cpu" if given.tiny else "gpu",
        pythons=dict.fromkeys((OURS, PRODUCT, REFERENCE, "torch", "torch-rewritten"), sys.executable),
        logs=given.out / "logs",
        tiny=given.tiny,
    )
    record: dict[str, Any] = {"machine": described, "skipped": [], "cases": []}
    shape = (8, 32, 32) if given.tiny else WHOLE_HEART
    record["whole_heart"] = []
    longest = 0.0
    for case in CASES[:1] if given.tiny else CASES:
        begun = time.monotonic()
        if begun - start + longest > given.budget:
            record["skipped"].append(case.name)
            continue
        found = compare(tiny(case) if given.tiny else case, options)
        for result in found["contestants"]:
            share = result["flops_per_second"] / (H200_TFLOPS * 1e12)
            result["share_of_h200"] = share if "H200" in (described["gpu"] or "") else None
        record["cases"].append(found)
        longest = max(longest, time.monotonic() - begun)
        write_json(record, given.out / "gpu.json")
    for dtype in ("bfloat16",) if given.tiny else ("float32", "bfloat16"):
        width = 1 / 32 if given.tiny else 1.0
        record["whole_heart"].append(whole_heart(shape, width=width, dtype=dtype, rounds=1 if given.tiny else 3))
        write_json(record, given.out / "gpu.json")
    record["wall_seconds"] = time.monotonic() - start
    write_json(record, given.out / "gpu.json")
    text = f"{machine.in_words(described)}.\n\n{comparison_table(record['cases'])}\n\n{_more(record)}\n"
    write_text(text, given.out / "gpu.md")
    say(f"\n{text}\nresults are in {given.out}")
    return int(not all(result["agreement"]["agrees"] for case in record["cases"] for result in case["contestants"]))


def _more(record: dict[str, Any]) -> str:
    """Returns two tables: the speed as a share of an H200's speed, and the times of the whole heart."""
    shares = [
        [
            case["case"]["name"],
            result["name"],
            f"{result['flops_per_second'] / 1e12:.1f}",
            "–" if result["share_of_h200"] is None else f"{result['share_of_h200']:.1%}",
        ]
        for case in record["cases"]
        for result in case["contestants"]
    ]
    hearts = [
        [
            f"{' × '.join(map(str, heart['shape']))}, {heart['dtype']}",
            seconds_text(heart["parts"]["segment"]),
            seconds_text(heart["median_seconds"]),
            seconds_text(heart["cold_seconds"]),
        ]
        for heart in record["whole_heart"]
    ]
    first = markdown_table(("case", "contestant", "TFLOP/s", f"of {H200_TFLOPS} (H200)"), shares)
    second = markdown_table(("whole heart", "arrays to masks", "file to file", "first time"), hearts)
    skipped = f"\n\nSkipped because the time was up: {', '.join(record['skipped'])}." if record["skipped"] else ""
    return f"{first}\n\n{second}{skipped}"


if __name__ == "__main__":
    sys.exit(main())
