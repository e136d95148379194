"""The job `doctor`: a description of the installation for a bug report, as plain text without names of people."""

import getpass
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import foanet_jax
from foanet_jax.jobs.startup import CACHE, cache_folder, short_path
from foanet_jax.system.errors import InputError, printable

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "absl-py", "numpy", "scipy", "nibabel",
    "pydicom", "h5py", "safetensors", "matplotlib", "pillow",
)  # fmt: skip
OPTIONAL = {
    "highdicom": "DICOM segmentations (--dicom_seg)",
    "onnx": "export to ONNX (--format=onnx)",
    "onnxruntime": "running exported ONNX files",
    "flatbuffers": "export to StableHLO",
    "tensorboardX": "TensorBoard events (--tensorboard)",
    "torch": "reading VGG16 from .pth files",
    "mpi4py": "training with MPI",
    "jax-cuda12-plugin": "NVIDIA GPUs, CUDA 12",
    "jax-cuda13-plugin": "NVIDIA GPUs, CUDA 13",
}
VECTORS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
           "amx_bf16", "neon", "asimd", "sve")  # fmt: skip
SETTINGS = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
GIB = 2**30


def report_installation() -> str:
    """Returns the whole report."""
    sections: dict[str, Callable[[], dict[str, str]]] = {
        "Program": _program,
        "Packages": lambda: {name: _version(name) for name in PACKAGES},
        "Optional packages": lambda: {name: f"{_version(name):14} {text}" for name, text in OPTIONAL.items()},
        "Machine": _machine,
        "Devices": _devices,
        "Cache of compiled programs": _cache,
        "Weights of this package": _weights,
        "Environment": _environment,
    }
    lines: list[str] = []
    for title, section in sections.items():
        rows = section()
        lines += [*([""] if lines else []), title]
        lines += [f"  {name:20} {value}".rstrip() for name, value in rows.items()]
    return _without_names("\n".join(lines))


def _without_names(text: str) -> str:
    """Returns the text with ~ for the home folder, and without the name of the user in any path."""
    home = os.path.expanduser("~")
    if home not in ("~", "/"):
        text = text.replace(home, "~")
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = ""
    if user:
        text = re.sub(rf"(?<=/){re.escape(user)}(?![\w.-])", "USER", text)
    return printable(text)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _program() -> dict[str, str]:
    return {
        "foanet-jax": foanet_jax.__version__,
        "installed in": short_path(Path(foanet_jax.__file__).parent),
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {short_path(sys.executable)}",
        "system": platform.platform(),
    }


def _machine() -> dict[str, str]:
    name, flags = _processor()
    cores = os.cpu_count() or 0
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    free, total = _memory()
    disk = shutil.disk_usage(Path.cwd())
    return {
        "processor": name,
        "vector sets": ", ".join(flags) or "unknown",
        "cores": f"{usable} usable of {cores}",
        "memory": f"{_gib(free)} free of {_gib(total)}" if total else "unknown",
        "disk here": f"{_gib(disk.free)} free of {_gib(disk.total)}",
    }


def _processor() -> tuple[str, list[str]]:
    """Returns the name of the processor, and the VECTORS that it has, which are known only on Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields: dict[str, str] = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", text.partition("\n\n")[0], flags=re.MULTILINE))
    words = set(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name") or platform.processor() or platform.machine(), [v for v in VECTORS if v in words]


def _memory() -> tuple[int, int]:
    """Returns free and total main memory in bytes, within the limit of a container; 0 if it is unknown."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        found = {name: 1024 * int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, flags=re.MULTILINE)}
        free, total = found["MemAvailable"], found["MemTotal"]
    except (OSError, KeyError):
        return 0, 0
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # "max": no limit
        return free, total
    return min(free, max(limit - used, 0)), min(total, limit)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _devices() -> dict[str, str]:
    try:
        import jax

        devices = jax.devices()
    except Exception as error:  # Every error belongs in this report.
        lines = str(error).strip().splitlines() or [""]
        return {"none": f"{type(error).__name__}: {lines[0]}"}
    rows = {}
    for device in devices:
        statistics = device.memory_stats() or {}
        limit, used = statistics.get("bytes_limit", 0), statistics.get("bytes_in_use", 0)
        memory = f", {_gib(limit - used)} free of {_gib(limit)} for JAX" if limit else ""
        rows[str(device)] = f"{device.platform}, {device.device_kind}{memory}"
    if all(device.platform == "cpu" for device in devices) and shutil.which("nvidia-smi"):
        rows["note"] = "nvidia-smi is installed, but JAX uses no GPU; see requirements-cuda12.txt"
    return rows


def _cache() -> dict[str, str]:
    folder, note = cache_folder()
    rows = {"folder": short_path(folder) if folder else "none", "writable": "yes" if folder else "no"}
    if os.environ.get(CACHE):
        rows["set by"] = CACHE
    return {**rows, **({"note": note} if note else {})}


def _weights() -> dict[str, str]:
    try:
        from foanet_jax.training.weights import default_weights, read_weights

        path = default_weights()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        description = read_weights(path).members[0].stages["segmentation"].description
        classes = ", ".join(description["classes"][1:])
    except (InputError, OSError, ImportError) as error:
        return {"none": str(error)}
    return {"file": short_path(path), "SHA-256": f"{digest}…", "classes": classes}


def _environment() -> dict[str, str]:
    names = sorted(name for name in os.environ if name.startswith(("JAX_", "XLA_")) or name in SETTINGS)
    return {name: os.environ[name] for name in names} or {"none set": ""}
