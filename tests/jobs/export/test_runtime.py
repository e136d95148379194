"""Exported networks and their runtime, in a process that cannot see the project, against the pipeline."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from foanet_jax.data.study import LV_CLASSES, Study
from foanet_jax.image.boxes import Box
from foanet_jax.image.components import keep_greatest
from foanet_jax.image.prepare import PrepareSpec, open_source, prepare, restore_labels
from foanet_jax.image.stack import NEIGHBOURS, neighbours
from foanet_jax.jobs import export
from foanet_jax.jobs.export import export_model, runtime
from foanet_jax.network import NetworkSpec, init_network, probabilities
from foanet_jax.pipeline import Model, Network, predict_study
from foanet_jax.system.errors import InputError

SPACING = (8.0, 1.37, 1.25)
# (T, Z, H, W): a cine, a stack, a 4D cine; on the networks' grids all are alike, so that little is compiled.
SHAPES = {"cine": (4, 1, 60, 70), "stack": (1, 4, 70, 60), "4d": (2, 2, 64, 64)}
IMAGES = np.random.default_rng(1).normal(size=(4, 96, 96, 3)).astype(np.float32)
EXTENT = np.array([[83, 75], [96, 41], [96, 96], [1, 17]], np.int32)
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import foanet_runtime
model = foanet_runtime.load()
masks = {}
with np.load(sys.argv[2]) as studies:
    for name in ("cine", "stack", "4d"):
        found = model.predict(studies[name], (8.0, 1.37, 1.25))
        masks |= {name: found.mask, f"{name} box": found.box}
    masks["probabilities"] = model._segmentation.network(studies["images"], studies["extent"])
np.savez(sys.argv[3], **masks)
assert "foanet_jax" not in sys.modules
"""


def network(architecture, classes, prepare, seed, **options):
    spec = NetworkSpec(architecture, classes, width=1 / 32, norm="batch", **options)
    rng = np.random.default_rng(seed)
    # Statistics that are not 0 and 1, so that folding them matters.
    variables = jax.tree.map(
        lambda leaf: (leaf + 0.1 * rng.uniform(-1, 1, size=leaf.shape)).astype(np.float32),
        init_network(jax.random.key(seed), spec),
    )
    return Network(spec, prepare, variables)


@pytest.fixture(scope="module")
def model():
    crop = PrepareSpec(spacing_mm=1.1, foa=True, foa_of="normalised", image_method="cubic", bucket=96)
    return Model(
        LV_CLASSES,
        (network("net1", 2, PrepareSpec(spacing_mm=2.0, bucket=96, neighbours="slices"), 1),),
        (network("net2", 3, crop, 2, decoder="top_down"),),
        margin_px=4,
        cyclic=True,
    )


def blobs(shape, seed=0):
    """A bright disc that moves and shrinks, in noise."""
    rows, columns = np.indices(shape[2:])
    voxels = np.random.default_rng(seed).normal(size=shape)
    for t, z in np.ndindex(shape[:2]):
        voxels[t, z] += 4 * (np.hypot(rows - 35 - t, columns - 30 - z) < 16 - t - z)
    return voxels.astype(np.float32)


@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_masks_are_the_pipelines(model, kind, tmp_path, monkeypatch):
    if kind == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "load_model", lambda run: model)
    monkeypatch.setattr(export, "load_description", lambda run: {})
    monkeypatch.setattr(export, "describe_run", lambda description: SimpleNamespace(slice_axis=None))
    folder = tmp_path / "EXPORT"
    export_model(tmp_path, folder, kind=kind)
    facts = json.loads((folder / "model.json").read_text())
    assert (facts["classes"], facts["margin_px"]) == (list(LV_CLASSES), 4)
    with pytest.raises(InputError, match="--overwrite"):
        export_model(tmp_path, folder, kind=kind)

    studies = {name: blobs(shape) for name, shape in SHAPES.items()}
    np.savez(tmp_path / "in.npz", **studies, images=IMAGES, extent=EXTENT)
    arguments = [sys.executable, "-I", "-c", PROGRAM, folder, tmp_path / "in.npz", tmp_path / "out.npz"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    foreground = 0
    with np.load(tmp_path / "out.npz") as found:
        for name, voxels in studies.items():
            expected = predict_study(Study("p", "p", voxels, SPACING, LV_CLASSES), model)
            assert tuple(found[f"{name} box"]) == dataclasses.astuple(expected.box)
            assert np.mean(found[name] == expected.mask) >= 0.9999
            foreground += np.count_nonzero(expected.mask)
        expected = probabilities(model.segmentation[0].variables, IMAGES, model.segmentation[0].spec, EXTENT)
        for ours, theirs, (rows, columns) in zip(found["probabilities"], expected, EXTENT, strict=True):
            np.testing.assert_allclose(ours[:rows, :columns], theirs[:rows, :columns], atol=1e-5)
    assert foreground > 1000


OPTIONS = [
    {"architecture": "net1"},
    {"architecture": "unet"},
    {"architecture": "net2", "order": "conv_up"},
    {"architecture": "net2", "up": "learned"},
    {"architecture": "net1", "decoder": "top_down"},
    {"architecture": "net2", "order": "conv_up", "up": "learned"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options.values()))
def test_every_network_as_onnx(options):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from foanet_jax.jobs.export.onnx_graph import network_graph

    made = network(
        options["architecture"], 3, PrepareSpec(), 3, **{k: v for k, v in options.items() if k != "architecture"}
    )
    images = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype(np.float32)
    extent = np.array([[27, 40], [32, 21]], np.int32)
    session = onnxruntime.InferenceSession(network_graph(made.variables, made.spec).SerializeToString())
    (found,) = session.run(None, {"images": images, "extent": extent})
    expected = np.asarray(probabilities(made.variables, images, made.spec, extent))
    for ours, theirs, (rows, columns) in zip(found, expected, extent, strict=True):
        np.testing.assert_allclose(ours[:rows, :columns], theirs[:rows, :columns], atol=1e-5)
        assert theirs[:rows, :columns].std() > 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (3, 2)])
@pytest.mark.parametrize("cyclic", [True, False])
@pytest.mark.parametrize("along", NEIGHBOURS)
def test_neighbours(shape, cyclic, along):
    options = {"cyclic": cyclic, "along": along}
    np.testing.assert_array_equal(runtime.neighbours(*shape, **options), neighbours(*shape, **options))


def test_the_greatest_component():
    labels = np.random.default_rng(0).integers(0, 3, size=(3, 2, 20, 20)).astype(np.uint8)
    labels[1] = 0
    np.testing.assert_array_equal(np.where(runtime.keep_greatest(labels), labels, 0), keep_greatest(labels))


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("foa", [{}, {"foa": True}, {"foa": True, "foa_of": "normalised"}], ids=str)
def test_prepared_images_and_the_way_back(method, foa):
    spec = PrepareSpec(spacing_mm=0.9, image_method=method, **foa)
    voxels = np.random.default_rng(0).normal(100, 20, size=(1, 2, 50, 40)).astype(np.float32)
    box = Box(7, 3, 41, 33)
    expected = prepare(open_source(voxels), box, SPACING[1:], spec)
    found = runtime.prepare(voxels[0], runtime.Box(7, 3, 41, 33), np.array(SPACING[1:]), dataclasses.asdict(spec))
    assert found.extent == expected.extent
    np.testing.assert_allclose(found.images, expected.images, atol=1e-4)
    maps = np.random.default_rng(1).uniform(size=(*found.images.shape, 3)).astype(np.float32)
    back = runtime.restore(maps, found, runtime.Box(7, 3, 41, 33))
    assert np.mean(back == restore_labels(maps, expected, box)) > 0.999


def test_what_the_runtime_refuses(model):
    made = object.__new__(runtime.Model)
    with pytest.raises(ValueError, match=r"\(T, Z, H, W\)"):
        made.predict(np.zeros((3, 4)), SPACING)
    with pytest.raises(ValueError, match="spacing"):
        made.predict(np.zeros((1, 1, 4, 4)), (1.0, 1.0))


@pytest.mark.skipif(importlib.util.find_spec("onnx") is not None, reason="onnx is installed")
def test_onnx_that_is_not_installed(tmp_path):
    with pytest.raises(InputError, match=r"requirements-onnx\.txt"):
        export_model(tmp_path, tmp_path / "out", kind="onnx")


def test_the_runtime_knows_only_the_scientific_stack():
    source = Path(runtime.__file__).read_text(encoding="utf-8")
    assert "foanet_jax" not in source
