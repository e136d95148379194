"""Weights files: one file with the networks of one or several runs and everything that a prediction needs.

A weights file is a .safetensors file. The name of an array begins with the index of its run, such as
"0/segmentation/variables/params/score/kernel". The metadata hold one JSON text. It contains the descriptions of the
runs, and a SHA-256 checksum of these descriptions and of the arrays.
"""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

import foanet_jax
from foanet_jax.measures.quality.calibration import Calibration, parse_calibration
from foanet_jax.system.atomic import atomic_path
from foanet_jax.system.errors import InputError, as_input_error
from foanet_jax.system.nesting import dotted
from foanet_jax.training.checkpoint import Checkpoint
from foanet_jax.training.seal import describe_array, digest_json
from foanet_jax.training.spec import NETWORKS

LOGGER = logging.getLogger(__name__)
SUFFIX = ".safetensors"
DEFAULT = Path(__file__).parents[1] / "weights" / f"short_axis{SUFFIX}"
DTYPES = ("float32", "float16")
_METADATA = "foanet"  # a single entry, because safetensors writes several entries in random order
_FORMAT = 1
_MOST_BYTES = 2**30
_FREE = ("network.dtype", "network.classes")  # settings that do not change what the weights mean
_KINDS = {"F32": np.float32, "F16": np.float16}


@dataclasses.dataclass(frozen=True)
class Member:
    """One run in a weights file.

    Attributes:
        stages: the checkpoints of its networks, by the name of the network.
        fold: the cross-validation fold of the run.
        seen: the patients of its training and validation sets.
        calibration: the map from confidence to expected Dice; None if the run is not calibrated.
    """

    stages: Mapping[str, Checkpoint]
    fold: int
    seen: tuple[str, ...]
    calibration: Calibration | None


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        members: the runs; several runs predict as an ensemble.
        licence, citation: texts by the author of the weights; may be empty.
        version: version of the project that wrote the file.
    """

    members: tuple[Member, ...]
    licence: str = ""
    citation: str = ""
    version: str = foanet_jax.__version__

    def describe(self) -> str:
        """Returns one line with the classes, the runs, their training data and the licence."""
        descriptions = [member.stages["segmentation"].description for member in self.members]
        data = sorted({description["config"]["data"]["name"] for description in descriptions})
        patients = {patient for member in self.members for patient in member.seen}
        parts = [
            ", ".join(descriptions[0]["classes"][1:]),
            *([f"ensemble of {len(self.members)} runs"] if len(self.members) > 1 else []),
            f"trained with {f'{len(patients)} patients' if patients else 'patients unknown'} of {', '.join(data)}",
            f"foanet-jax {self.version}",
        ]
        return "; ".join([*parts, *filter(None, (self.licence,))])


def is_weights(path: Path) -> bool:
    """Returns whether a path given as `--checkpoint` is a weights file, not the folder of a run."""
    return path.is_file() or (path.suffix == SUFFIX and not path.is_dir())


def default_weights() -> Path:
    """Returns the path of the weights file in the package.

    Raises:
        InputError: the package was installed without one ("missing-weights").
    """
    if not DEFAULT.is_file():
        raise InputError(
            "missing-weights",
            f"{DEFAULT}: this installation has no weights; pass --checkpoint=RUN (in Python, foanet_jax.load(RUN)), "
            "where RUN is the folder of a trained run or a weights file; python run.py trains a run",
        )
    return DEFAULT


def write_weights(weights: Weights, path: Path, *, dtype: str = "float32") -> int:
    """Writes a weights file atomically. Equal weights give byte-identical files.

    Args:
        weights: the content.
        path: the file, with the suffix .safetensors.
        dtype: "float32" or "float16". With "float16", arrays of one dimension stay float32, because they are small.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: the path has another suffix, or a value is not finite in `dtype`.
    """
    if path.suffix != SUFFIX:
        raise InputError("suffix", f"{path}: a weights file must have the suffix {SUFFIX}; choose another --output")
    arrays: dict[str, np.ndarray] = {}
    for number, member in enumerate(weights.members):
        for stage, checkpoint in member.stages.items():
            for name, array in checkpoint.arrays.items():
                place = f"{number}/{stage}/{name}"
                with np.errstate(over="ignore"):
                    arrays[place] = np.ascontiguousarray(array, dtype if array.ndim > 1 else np.float32)
                if not np.isfinite(arrays[place]).all():
                    raise InputError(
                        "weights-not-finite",
                        f"{checkpoint.folder}: {name} is not finite in {dtype}; use --weights_dtype=float32, or train "
                        "again if it is float32 already",
                    )
    content = {
        "format": _FORMAT,
        "version": weights.version,
        "licence": weights.licence,
        "citation": weights.citation,
        "members": [_as_json(member) for member in weights.members],
    }
    text = json.dumps({**content, "sha256": _digest(content, arrays)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays, {_METADATA: text}))
    return path.stat().st_size


def read_weights(path: Path) -> Weights:
    """Reads a weights file and verifies its checksum; arrays become float32.

    Raises:
        InputError: the file is missing, too large, damaged, or not a weights file of this version.
    """
    if not path.is_file():
        raise InputError(
            "missing-file", f"{path}: no such file; --checkpoint must be the folder of a run or a weights file"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(
            "too-large", f"{path}: has more than {_MOST_BYTES} bytes; pass a weights file of --mode release"
        )
    with _damage_told(path):
        with safetensors.safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise InputError(
                    "not-weights",
                    f"{path}: was not written by --mode release; pass a file of --mode release or the folder of a run",
                )
            content = json.loads(text)
            arrays = {name: _array(file, name) for name in file.keys()}  # noqa: SIM118
        digest = content.pop("sha256")
        if content["format"] != _FORMAT:
            raise InputError(
                "not-weights",
                f"{path}: has format {content['format']!r}, but this version reads format {_FORMAT}; use the version "
                "that wrote it",
            )
        if digest != _digest(content, arrays):
            raise ValueError("its content does not match its checksum")
        said = {name: str(content[name]) for name in ("licence", "citation", "version")}
        members = tuple(_member(fields, number, arrays, path) for number, fields in enumerate(content["members"]))
        if not members or sum(len(stage.arrays) for m in members for stage in m.stages.values()) != len(arrays):
            raise ValueError("its arrays do not match its runs")
        return Weights(members, **said)


def holds_networks(path: Path) -> bool:
    """Returns whether `write_weights` has written a file. Other .safetensors files are not weights files."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return _METADATA in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def start_from(
    variables: Mapping[str, Any],
    path: Path,
    network: str,
    *,
    classes: Sequence[str] = (),
    of_classes: Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Loads variables from the first run of a weights file, if names and shapes are the same as in this network.

    Other layers keep their initial values, for example the last layer if the classes differ. The log lists them. If the
    classes have other names or another order, the layers of the classes keep their initial values too, because the
    channels of the file mean other structures. Settings that differ are logged.

    Args:
        variables: the network's initial variables; not changed.
        path: the weights file.
        network: "localization" or "segmentation".
        classes: names of the classes of this network by index; empty to take those of the file.
        of_classes: names of the arrays with a channel for each class, such as "params/score/kernel".
        settings: the settings `network` and `prepare` of this network, which are compared with those in the file.

    Returns:
        A copy of the variables with the loaded values.

    Raises:
        InputError: the file cannot be read, does not have this network, or no variable fits.
    """
    stages = read_weights(path).members[0].stages
    if network not in stages:
        raise InputError("weights-misfit", f"{path}: has no {network} network; leave {network}.train.pretrained empty")
    theirs = {name.removeprefix("variables/"): array for name, array in stages[network].arrays.items()}
    ours = flatten_dict(variables, sep="/")
    fitting = {name for name, leaf in ours.items() if name in theirs and theirs[name].shape == leaf.shape}
    if not fitting:
        raise InputError(
            "weights-misfit",
            f"{path}: no array of its {network} network fits; use the network.width that it was trained with",
        )
    described = stages[network].description
    known = tuple(described["classes"])
    if network == "segmentation" and classes and known != tuple(classes):
        LOGGER.warning(
            "%s: has the classes %s, but the data %s: the layers of the classes start anew; with the same classes in "
            "the same order, they would be loaded too",
            path,
            ", ".join(known[1:]),
            ", ".join(classes[1:]),
        )
        fitting -= set(of_classes)
    for name, value in dotted(dict(settings or {})).items():
        theirs_value = dotted(described["config"][network]).get(name, value)
        if theirs_value != value and name not in _FREE:
            LOGGER.warning("%s: was trained with %s.%s = %s, not %s", path, network, name, theirs_value, value)
    others = sorted(ours.keys() - fitting)
    rest = f"; these keep their initial values: {', '.join(others)}" if others else ""
    LOGGER.info("%s: loaded %d of %d arrays of the %s network%s", path, len(fitting), len(ours), network, rest)
    return unflatten_dict({name: theirs[name] if name in fitting else ours[name] for name in ours}, sep="/")


def _array(file: Any, name: str) -> np.ndarray:
    if file.get_slice(name).get_dtype() not in _KINDS:
        raise TypeError(f"{name} is neither float32 nor float16")
    return file.get_tensor(name)


def _digest(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    return digest_json({"content": content, "arrays": {name: describe_array(arrays[name]) for name in arrays}})


def _as_json(member: Member) -> dict[str, Any]:
    return {
        "fold": member.fold,
        "seen": list(member.seen),
        "calibration": None if member.calibration is None else dataclasses.asdict(member.calibration),
        "stages": {
            stage: {name: getattr(checkpoint, name) for name in ("step", "epoch", "description")}
            for stage, checkpoint in member.stages.items()
        },
    }


def _member(fields: Mapping[str, Any], number: int, arrays: Mapping[str, np.ndarray], path: Path) -> Member:
    stages = {}
    for stage, stored in fields["stages"].items():
        prefix = f"{number}/{stage}/"
        own = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
        stages[stage] = Checkpoint(
            step=int(stored["step"]),
            epoch=int(stored["epoch"]),
            description=dict(stored["description"]),
            arrays={name: array.astype(np.float32) for name, array in own.items()},
            folder=path,
        )
    if "segmentation" not in stages or not stages.keys() <= set(NETWORKS):
        raise ValueError(f"networks {', '.join(stages)}")
    calibration = fields["calibration"]
    return Member(
        stages=stages,
        fold=int(fields["fold"]),
        seen=tuple(map(str, fields["seen"])),
        calibration=None if calibration is None else parse_calibration(calibration, path),
    )


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    with as_input_error(
        lambda what: InputError(
            "damaged-weights", f"{path}: is damaged or not a weights file ({what}); copy the file again"
        )
    ):
        yield
