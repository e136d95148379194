"""Export of a trained model to a folder that works without this project: networks, settings and a small runtime."""

import dataclasses
import importlib.util
import io
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

import foanet_jax
from foanet_jax.jobs.experiment.model import describe_run, find_runs, load_description, load_model
from foanet_jax.jobs.experiment.record import write_json
from foanet_jax.network import COARSEST, forward_bytes, probabilities
from foanet_jax.pipeline import Network
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError
from foanet_jax.system.nesting import dotted, nested
from foanet_jax.system.overwriting import files_below, identities, require_no_input
from foanet_jax.training.spec import NETWORKS

LOGGER = logging.getLogger(__name__)
FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
NEEDS = {"stablehlo": ("flatbuffers", "requirements.txt"), "onnx": ("onnx", "requirements-onnx.txt")}
RUNTIME = "foanet_runtime.py"


def export_model(run: Path, output: Path, *, kind: str = "stablehlo", overwrite: bool = False) -> None:
    """Exports the networks of a run for use without this project.

    It writes these files to `output`: the networks `localization` and `segmentation` as `.stablehlo` with weights in
    `.npz`, or as `.onnx`; `model.json` with the settings of the pipeline; and `foanet_runtime.py`, which implements the
    pipeline.

    Args:
        run: the workdir of a training, or a weights file of one run.
        output: the output folder.
        kind: one of FORMATS.
        overwrite: replace an existing export.

    Raises:
        InputError: there are no checkpoints or several runs; a file exists and `overwrite` is false; the output is a
            file of the run; the format does not support the network; or a package that is needed is not installed.
    """
    package, requirements = NEEDS[kind]
    if importlib.util.find_spec(package) is None:
        raise InputError(
            "missing-package",
            f"--format={kind} needs {package}, which is not installed; run pip install -r {requirements}",
        )
    runs = find_runs(run)
    endings = (kind,) if kind == "onnx" else (kind, "npz")
    files = [f"{network}.{ending}" for network in NETWORKS for ending in endings]
    outputs = [output / name for name in ("model.json", RUNTIME, *files)]
    require_no_input(outputs, identities(files_below(runs, but=outputs)), "choose another --output")
    there = [path for path in outputs if path.exists()]
    if there and not overwrite:
        raise InputError("output-exists", f"{there[0]}: already exists; pass --overwrite or another --output")
    model = load_model(runs)
    if len(model.segmentation) > 1:
        such = f", such as {runs[0]}" if len(runs) > 1 else ""
        raise InputError(
            "ensemble",
            f"{run}: has {len(model.segmentation)} runs, but only a single run can be exported; name one{such}",
        )
    networks = {"segmentation": model.segmentation[0]}
    if model.localization:
        networks["localization"] = model.localization[0]
    for name, network in networks.items():
        if kind == "onnx" and network.spec.norm in ("group", "instance"):
            raise InputError(
                "onnx",
                f"{run}: {name}.network.norm is {network.spec.norm!r}, which the ONNX export does not support; use "
                "--format=stablehlo",
            )
    facts = {
        "version": foanet_jax.__version__,
        "classes": model.classes,
        "margin_px": model.margin_px,
        "passes": model.passes,
        "cyclic": model.cyclic,
        "slice_axis": describe_run(load_description(runs[0])).slice_axis,
        "stages": {name: _write_network(name, networks[name], output, kind) for name in sorted(networks)},
    }
    _write(output / RUNTIME, (Path(__file__).parent / "runtime.py").read_bytes())
    write_json(output / "model.json", facts)
    LOGGER.info("networks and %s are in %s", RUNTIME, output)


def _write_network(name: str, network: Network, output: Path, kind: str) -> dict[str, Any]:
    """Writes a network and returns its entry for `model.json`."""
    files = {"network": f"{name}.{kind}"}
    if kind == "onnx":
        from foanet_jax.jobs.export.onnx_graph import network_graph

        _write(output / files["network"], network_graph(network.variables, network.spec).SerializeToString())
    else:
        files["weights"] = f"{name}.npz"
        _write(output / files["network"], serialise(network))
        with io.BytesIO() as file:
            weights: Any = {key: np.asarray(value) for key, value in dotted(network.variables).items()}
            np.savez(file, **weights)
            _write(output / files["weights"], file.getvalue())
    return {
        **files,
        "spec": dataclasses.asdict(network.spec),
        "prepare": dataclasses.asdict(network.prepare),
        "bytes_a_pixel": forward_bytes(network.spec, (1, 1)),
    }


def serialise(network: Network) -> bytes:
    """Serialises a network as StableHLO with `jax.export`, for any number and size of images and for PLATFORMS.

    Inputs of the exported function: the weights by dotted name; (B, H, W, 3) float32 images, H and W multiples of 16;
    and (B, 2) int32, the rows and columns that belong to each image. Output: (B, H, W, classes) probabilities.
    """
    batch, rows, columns = export.symbolic_shape("batch, rows, columns")
    weights = {key: jax.ShapeDtypeStruct(value.shape, value.dtype) for key, value in dotted(network.variables).items()}
    images = jax.ShapeDtypeStruct((batch, COARSEST * rows, COARSEST * columns, 3), jnp.float32)
    extent = jax.ShapeDtypeStruct((batch, 2), jnp.int32)

    @jax.jit
    def forward(weights, images, extent):
        return probabilities(nested(weights), images, network.spec, extent)

    return bytes(export.export(forward, platforms=PLATFORMS)(weights, images, extent).serialize())


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
