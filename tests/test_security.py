"""docs/security.md: nothing from data, weights or checkpoints is executed, and hostile files end in an InputError."""

import ast
import copy
import csv
import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import phantom
from foanet_jax.data.acquisition import Acquisition, read_acquisitions, write_acquisitions
from foanet_jax.data.nifti.write import write_nifti
from foanet_jax.jobs.experiment.model import load_model
from foanet_jax.jobs.experiment.studies import list_studies
from foanet_jax.measures.evaluation import read_scores, summarise, write_scores
from foanet_jax.measures.metrics import Score
from foanet_jax.measures.sizes import Size, read_sizes, write_sizes
from foanet_jax.network import init_network
from foanet_jax.network.pretrained import read_vgg16
from foanet_jax.pages.gallery import MOST_BYTES, load_gallery
from foanet_jax.pages.report.results import SWEEP, read_sweep
from foanet_jax.settings import network_settings, with_overrides
from foanet_jax.system.atomic import atomic_path, open_unlinked
from foanet_jax.system.errors import InputError
from foanet_jax.system.escaping import from_cell, markdown, to_cell
from foanet_jax.training import parallel
from foanet_jax.training.checkpoint import FOLDER, open_checkpoints
from foanet_jax.training.seal import NAME, digest_files, digest_json, read_seal, write_seal
from foanet_jax.training.spec import NETWORKS
from foanet_jax.training.step import init_state, make_optimiser

ROOT = Path(__file__).parents[1]
SHIPPED = [
    ROOT / "run.py",
    *(path for top in ("foanet_jax", "experiments", "benchmarks") for path in (ROOT / top).rglob("*.py")),
]

# What runs code that it is given, or that a file holds.
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"os.system", "os.popen", "pd.read_pickle", "pandas.read_pickle", "yaml.unsafe_load", "subprocess.getoutput"}


def offences(source: str) -> list[str]:
    """Each thing in a program that could run what a file holds, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        told = ""
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            told = ", ".join(name for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            told = _offending_call(node)
        if told:
            found.append(f"line {node.lineno}: {told}")
    return found


def _offending_call(node: ast.Call) -> str:
    name = ast.unparse(node.func)
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    last = name.rpartition(".")[2]
    if name in BUILTINS or name in CALLS:
        return name
    if options.get("shell", "False") != "False":
        return f"{name} with a shell"
    if options.get("allow_pickle", "False") != "False" or (last == "load" and name.startswith("np.") and node.args[2:]):
        return f"{name} with pickles"
    if name == "torch.load" and options.get("weights_only") != "True":
        return "torch.load without weights_only"
    if name in ("yaml.load", "yaml.load_all") and "Safe" not in options.get("Loader", ""):
        return "yaml.load without a safe loader"
    if last == "import_module" and isinstance(node.args[0], ast.Constant) and node.args[0].value in MODULES:
        return f"import_module of {node.args[0].value}"
    return ""


def test_no_module_uses_what_executes_files():
    assert len(SHIPPED) > 100
    found = {str(path.relative_to(ROOT)): offences(path.read_text(encoding="utf-8")) for path in SHIPPED}
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n import dill.source",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, None, True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(file)",
        "yaml.load(file, Loader=yaml.Loader)",
        "importlib.import_module('pickle')",
    ],
)
def test_the_scan_finds(source):
    assert len(offences(source)) == 1


def test_the_scan_passes_what_is_sound():
    sound = "np.load(p, allow_pickle=False); torch.load(p, weights_only=True); yaml.load(f, Loader=yaml.SafeLoader)"
    assert offences(f"{sound}; model.eval(); re.compile(p); subprocess.run([p], shell=False); import json") == []


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, sprung):
        self.sprung = sprung

    def __reduce__(self):
        return (Path.touch, (self.sprung,))


# Checkpoints


def tiny_config():
    small = {"network.width": 1 / 32, "prepare.spacing_mm": 5.0, "prepare.bucket": 64}
    changes = {f"{stage}.{name}": value for stage in NETWORKS for name, value in small.items()}
    changes |= {"data.patients": 5, "data.phantom.size": 64, "data.phantom.frames": 2, "evaluation.overlays": 0}
    return with_overrides(phantom.get_config().to_dict(), changes)


CLASSES = ["background", "myocardium", "cavity"]


def save_run(run, config):
    """Checkpoints of both networks, all zeros."""
    for stage in NETWORKS:
        settings = network_settings(config, stage, classes=2 if stage == "localization" else 3)
        shapes = jax.eval_shape(lambda spec=settings.network: init_network(jax.random.key(0), spec))
        variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state = parallel.place(init_state(variables, make_optimiser(settings.optimiser, 1)), 1)
        description = {"stage": stage, "classes": CLASSES, "slice_axis": None, "config": config}
        with open_checkpoints(run / stage, write=True) as checkpoints:
            checkpoints.save(state, description, epoch=1, score=0.5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    save_run(run, tiny_config())
    return run


def describe(run, text):
    """Puts a text in the place of a checkpoint's description, and seals it as who wrote it would."""
    folder = run / "segmentation" / FOLDER / "0"
    (folder / "description" / "metadata").write_text(text)
    try:
        seal_again(folder, description=digest_json(json.loads(text)))
    except (ValueError, RecursionError):
        seal_again(folder)


def seal_again(folder, **changes):
    """A checkpoint's seal after its files have changed."""
    seal = read_seal(folder)
    (folder / NAME).unlink()
    write_seal(folder, dataclasses.replace(seal, files=digest_files(folder), **changes))


def deep(depth=100_000):
    return "[" * depth


def changed(name, value):
    """A description with one value changed, as text; `name` is dotted."""

    def change(text):
        description = json.loads(text)
        *parents, field = name.split(".")
        place = description
        for parent in parents:
            place = place[parent]
        place[field] = value
        return json.dumps(description)

    return change


HOSTILE = {
    "deep": lambda _: deep(),
    "deep-inside": lambda text: text.replace('"stage"', f'"x": {deep()}, "stage"', 1),
    "huge": changed("x", "x" * 2**21),
    "huge-number": lambda text: text.replace('"fold": 0', f'"fold": {"9" * 5000}'),
    "not-json": lambda _: "{",
    "list": lambda _: "[]",
    "null": lambda _: "null",
    "no-config": changed("config", None),
    "no-data": changed("config.data", []),
    "cyclic": changed("config.data.cyclic", "False"),
    "enabled": changed("config.localization.enabled", 1),
    "margin": changed("config.localization.margin_px", -1),
    "memory": changed("config.prediction.memory_mb", "x"),
    "a-million-classes": changed("classes", [str(number) for number in range(1_000_000)]),
    "classes-not-a-list": changed("classes", "abc"),
    "classes-twice": changed("classes", ["a", "a"]),
    "other-classes": changed("classes", [*CLASSES, "more"]),
    "slice-axis": changed("slice_axis", "os.system"),
    "range-of-one": changed("training_range", {"rows": [1]}),
    "range-of-text": changed("training_range", {"rows": ["a", "b"]}),
    "stage-is-text": changed("config.segmentation", "evil.get_config"),
    "no-network": changed("config.segmentation.network", None),
    "module-for-network": changed("config.segmentation.network.architecture", "evil:Network"),
    "unknown-field": changed("config.segmentation.network.module", "evil"),
    "unhashable": changed("config.segmentation.prepare.foa", [True]),
    "not-finite": changed("config.segmentation.network.width", float("nan")),
    "enormous": changed("config.segmentation.network.width", 1e12),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_is_refused(saved, name):
    sound = (saved / "segmentation" / FOLDER / "0" / "description" / "metadata").read_text()
    try:
        describe(saved, HOSTILE[name](sound))
        with pytest.raises(InputError) as caught:
            load_model(saved)
    finally:
        describe(saved, sound)
    assert caught.value.code in ("damaged-checkpoint", "configuration", "other-network")
    assert len(str(caught.value)) < 1000


def test_sound_checkpoints_are_read_and_older_ones_too(saved):
    sound = (saved / "segmentation" / FOLDER / "0" / "description" / "metadata").read_text()
    assert load_model(saved).classes == tuple(CLASSES)
    older = json.loads(sound)
    del older["slice_axis"], older["config"]["prediction"]["memory_mb"]
    try:
        describe(saved, json.dumps(older))
        assert load_model(saved).margin_px == older["config"]["localization"]["margin_px"]
    finally:
        describe(saved, sound)


@pytest.fixture
def evil(tmp_path):
    """The folder of a module `evil` that tells when it runs, and the file by which it does."""
    folder = tmp_path / "evil"
    folder.mkdir()
    sprung = tmp_path / "sprung"
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(sprung)!r}).touch()\n")
    return folder, sprung


def watched(evil_folder, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(evil_folder)])}
    return subprocess.run(
        [sys.executable, "-m", "tests.watched", *map(str, arguments)],
        cwd=evil_folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_watch_sees_a_module_that_is_not_installed(evil):
    folder, sprung = evil
    child = watched(folder, "evil")
    assert child.returncode != 0
    assert "forbidden: " in child.stderr
    assert not sprung.exists()


def test_no_module_that_a_checkpoint_names_is_imported(evil, tmp_path):
    """Prediction and evaluation with a checkpoint that names code wherever it can, on the path and in the folder."""
    folder, sprung = evil
    config = tiny_config()
    named = copy.deepcopy(config)
    script = str(folder / "evil.py")
    named |= {"name": "evil", "row": "evil", "config": script, "module": "evil", "__reduce__": ["os.system", "evil"]}
    named["data"] |= {"name": "evil:read", "root": str(folder), "folds_file": script}
    weights = folder / "weights.pth"
    weights.write_bytes(pickle.dumps(Trap(sprung)))
    for stage in NETWORKS:
        named[stage]["train"]["pretrained"] = str(weights)
    run = tmp_path / "run"
    save_run(run, named)
    for stage in NETWORKS:
        checkpoint = run / stage / FOLDER / "0"
        metadata = json.loads((checkpoint / "_CHECKPOINT_METADATA").read_text())
        metadata["item_handlers"] = dict.fromkeys(metadata["item_handlers"], "evil.Handler")
        (checkpoint / "_CHECKPOINT_METADATA").write_text(json.dumps(metadata))
        (checkpoint / "evil.py").write_text(Path(script).read_text())
        seal_again(checkpoint)
    (run / "run.json").write_text(json.dumps({"config": named, "command": ["evil.py"]}))
    study = list_studies(config)[0].load()
    write_nifti(study.voxels[:1], affine=study.affine, spacing_mm=study.spacing_mm, path=tmp_path / "study.nii.gz")
    (tmp_path / "config.json").write_text(json.dumps(config))
    child = watched(folder, run, tmp_path / "study.nii.gz", tmp_path / "out", tmp_path / "config.json")
    assert child.returncode == 0, child.stderr[-3000:]
    assert not sprung.exists()
    assert (tmp_path / "out" / "study_seg.nii.gz").exists()
    assert (run / "evaluation" / "summary.json").exists()


# Weights


def test_a_pth_that_would_run_code_is_refused(tmp_path):
    """Laid out as PyTorch does; without PyTorch test_pretrained.py shows that none is read at all."""
    pytest.importorskip("torch")
    sprung = tmp_path / "sprung"
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", pickle.dumps({"features.0.weight": Trap(sprung)}, protocol=2))
        archive.writestr("w/byteorder", "little")
        archive.writestr("w/version", "3\n")
    with pytest.raises(InputError) as caught:
        read_vgg16(tmp_path / "w.pth")
    assert caught.value.code in ("weights-unreadable", "old-torch")
    assert not sprung.exists()


def h5_external(file, folder):
    (folder / "secret").write_bytes(np.ones(64, "f4").tobytes())
    file.create_dataset("block1_conv1/bias", (64,), "f4", external=[(str(folder / "secret"), 0, 256)])


def h5_virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones(64, "f4")
    layout = h5py.VirtualLayout((64,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (64,))
    file.create_virtual_dataset("block1_conv1/bias", layout)


def h5_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones((3, 3, 3, 64), "f4")
    file["block1_conv1/kernel"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def h5_filter(file, _):
    file.create_dataset("block1_conv1/bias", data=np.ones(64, "f4"), chunks=(64,), fletcher32=True)


def h5_plugin(file, _):
    """A filter that HDF5 would look for among its plug-ins, had the dataset any values."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((64,))
    layout.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((64,))
    h5py.h5d.create(file.id, b"block1_conv1_bias", h5py.h5t.NATIVE_FLOAT, space, layout)


def h5_declared(file, _):
    file.create_dataset("block1_conv1/kernel", (2**20, 2**20), "f4", chunks=(64, 64))


def h5_lying(file, _):
    file.create_dataset("block5_conv3/kernel", (3, 3, 512, 512), "f4", chunks=(3, 3, 512, 512))


def h5_text(file, _):
    file.create_dataset("block1_conv1/bias", data=["x"] * 64)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (h5_external, "weights-unreadable"),
        (h5_virtual, "weights-unreadable"),
        (h5_link, "weights-empty"),
        (h5_filter, "weights-unreadable"),
        (h5_plugin, "weights-unreadable"),
        (h5_declared, "weights-shape"),
        (h5_lying, "weights-unreadable"),
        (h5_text, "weights-unreadable"),
    ],
)
def test_h5_weights_read_this_file_alone_and_within_its_size(tmp_path, make, code):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        make(file, tmp_path)
    with pytest.raises(InputError) as caught:
        read_vgg16(tmp_path / "w.h5")
    assert caught.value.code == code


def zip_of_zeros(path, name, mib, head=b""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(head)
        for _ in range(mib):
            member.write(bytes(2**20))


def test_npz_weights_are_no_bomb(tmp_path):
    zip_of_zeros(tmp_path / "w.npz", "block1_conv1/kernel.npy", 32)
    with pytest.raises(InputError, match="more than any array of VGG16") as caught:
        read_vgg16(tmp_path / "w.npz")
    assert caught.value.code == "weights-shape"


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E8M0", "BF16", "C64", "none"])
def test_safetensors_of_types_that_numpy_has_not(tmp_path, dtype):
    size = {"BF16": 2, "C64": 8}.get(dtype, 1) * 64
    header = json.dumps({"block1_conv1/bias": {"dtype": dtype, "shape": [64], "data_offsets": [0, size]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(InputError) as caught:
        read_vgg16(tmp_path / "w.safetensors")
    assert caught.value.code in ("weights-unreadable", "weights-type")


@pytest.mark.parametrize("header", [b"[" * 10**6, b'{"a":' * 10**5, struct.pack("<Q", 2**63)])
def test_safetensors_with_a_hostile_header(tmp_path, header):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(InputError):
        read_vgg16(tmp_path / "w.safetensors")


# What an evaluation leaves


def write_gallery(folder, entries, **arrays):
    np.savez_compressed(folder / "gallery.npz", entries=np.frombuffer(entries, np.uint8), **arrays)


@pytest.mark.parametrize("kind", ["objects", "deep", "types", "floats", "not-a-zip"])
def test_a_hostile_gallery_is_refused(tmp_path, kind):
    sprung = tmp_path / "sprung"
    plane = {"patient": "p", "case": "c", "frame": 0, "slice_": 0, "classes": [], "spacing_mm": [1, 1]}
    plane |= {"object_box": None, "box": [0, 0, 1, 1]}
    if kind == "objects":
        trap = np.empty(1, object)
        trap[0] = Trap(sprung)
        np.savez(tmp_path / "gallery.npz", entries=trap)
    elif kind == "not-a-zip":
        (tmp_path / "gallery.npz").write_bytes(pickle.dumps(Trap(sprung)))
    elif kind == "floats":
        arrays = {f"0/{name}": np.zeros((2, 2)) for name in ("image", "truth", "prediction")}
        write_gallery(tmp_path, json.dumps([plane]).encode(), **arrays)
    else:
        write_gallery(tmp_path, deep().encode() if kind == "deep" else b"[1, {}]")
    with pytest.raises(InputError) as caught:
        load_gallery(tmp_path)
    assert caught.value.code == "damaged-file"
    assert not sprung.exists()


def test_a_gallery_is_no_bomb(tmp_path):
    zip_of_zeros(tmp_path / "gallery.npz", "entries.npy", 1)
    content = bytearray((tmp_path / "gallery.npz").read_bytes())
    at = content.index(b"PK\1\2") + 24  # The size in the archive's table, which is all that unpacking heeds.
    content[at : at + 4] = struct.pack("<I", MOST_BYTES - 1)
    (tmp_path / "gallery.npz").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_gallery(tmp_path)
    with zipfile.ZipFile(tmp_path / "gallery.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f"{number}.npy", b"")
    content = bytearray((tmp_path / "gallery.npz").read_bytes())
    for at in (content.index(b"PK\1\2") + 24, content.rindex(b"PK\1\2") + 24):
        content[at : at + 4] = struct.pack("<I", MOST_BYTES - 1)
    (tmp_path / "gallery.npz").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_gallery(tmp_path)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    "content", [deep(), '{"rows": {}, "folds": ["0/../../secret"]}', '{"rows": {"../a": {}}}', "[]"]
)
def test_a_hostile_sweep_is_refused(tmp_path, content):
    (tmp_path / SWEEP).write_text(content)
    with pytest.raises(InputError):
        read_sweep(tmp_path)


# What is written

FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "'=1", "''", "p1", "", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_is_never_a_formula_and_comes_back(text):
    assert not to_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_cell(to_cell(text)) == text
    assert to_cell("patient001") == "patient001"


def test_ids_that_are_formulas_come_back_from_the_tables(tmp_path):
    scores = [Score(f, f, 0, "=class", 0.5, -1.0, 1.0, 0.5, False, False) for f in FORMULAS[:5]]
    write_scores(scores, summarise(scores), tmp_path)
    assert read_scores(tmp_path / "scores.csv") == scores
    sizes = [Size(f, f, 0, "=class", "ml", 1.0, -2.0) for f in FORMULAS[:5]]
    write_sizes(sizes, tmp_path)
    assert read_sizes(tmp_path) == sizes
    studies = [Acquisition(f, f, "=class", 1, 2, 3, 4, 5.0, 6.0, 7.0) for f in FORMULAS[:5]]
    write_acquisitions(studies, tmp_path)
    assert read_acquisitions(tmp_path) == studies
    for name in ("scores.csv", "patients.csv", "sizes.csv", "studies.csv"):
        with (tmp_path / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-A", "\t"))]
        assert "'=class" in cells


def test_markdown_is_text():
    assert markdown("![x](http://a/b)<img src=c>|*a*") == r"![x]\(http://a/b)\<img src=c>\|\*a\*"
    assert markdown("0.5 [0.4, 0.6]\nend") == "0.5 [0.4, 0.6] end"


def test_messages_hold_nothing_that_a_terminal_obeys():
    error = InputError("x", "a\x1b]0;title\x07\x9b2J\r\nb\tc\x7f")
    assert str(error) == "a\\x1b]0;title\\x07\\x9b2J\\x0d\nb\tc\\x7f"


def test_a_link_in_the_place_of_an_output_is_replaced_or_refused(tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "link").symlink_to(other)
    for mode in ("w", "a"):
        with pytest.raises(InputError, match="remove the link"), open_unlinked(tmp_path / "link", mode):
            pass
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert other.read_text() == "mine"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"
    with open_unlinked(tmp_path / "log", "a") as file:
        file.write("a line\n")
    assert (tmp_path / "log").read_text() == "a line\n"
    umask = os.umask(0)
    os.umask(umask)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("link", "log")} == {0o666 & ~umask}
