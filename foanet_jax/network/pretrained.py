"""Loading of VGG16's ImageNet weights from a user's file into Net.1 and Net.2. Nothing is downloaded.

In the file, the three input channels of the first layer are colours: blue, green, red in the Keras (Caffe) weights;
red, green, blue in the torchvision weights. The channels of the temporal-like image are the frames n−1, n, n+1 and have
no colour. Neither order is better than the other, so the kernels are loaded unchanged. The kernels are not rescaled
either. The torchvision weights were trained on images of about unit variance, and Gauss normalisation gives such images
too. The Keras weights were trained on intensities of 0 to 255 minus their mean. Their biases therefore have about sixty
times more effect here than in their training.
"""

import dataclasses
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors

from foanet_jax.system import hdf5
from foanet_jax.system.errors import InputError

Weights = dict[str, dict[str, np.ndarray]]

# From the index of each convolution in torchvision's `features` to its layer name (Simonyan and Zisserman, column D).
_FEATURES: dict[int, str] = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        (f"block{stage}_conv{n}" for stage, depth in enumerate((2, 2, 3, 3, 3), start=1) for n in range(1, depth + 1)),
        strict=True,
    )
)
_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG16_KERNELS: dict[str, tuple[int, int, int, int]] = {
    layer: (3, 3, inputs, outputs)
    for layer, inputs, outputs in zip(_FEATURES.values(), _WIDTHS[:-1], _WIDTHS[1:], strict=True)
}

_KERAS = re.compile(
    r"(?:^|/)(?P<layer>block\d+_conv\d+)"
    r"(?:[/_.](?:(?P<kernel>kernel|W|W_1)|(?P<bias>bias|b|b_1))(?::0)?|/vars/(?P<index>[01]))$"
)
_TORCH = re.compile(r"(?:^|\.)features\.(?P<number>\d+)\.(?P<leaf>\w+)$")
# Older versions of PyTorch can run code from a crafted file even with weights_only (CVE-2025-32434, CVE-2026-24747).
_SAFE_TORCH = (2, 10)
_MOST_BYTES = 3 * 3 * 512 * 512 * 8 + 2**14  # limit for one array: the largest kernel in float64 and a header


@dataclasses.dataclass(frozen=True)
class PretrainedReport:
    """The names of the pre-trained parameters that were loaded, and of those that were not.

    Attributes:
        path: the weights file.
        loaded: parameters of the network that were loaded from the file.
        missing: VGG16 parameters of the network that are not in the file; they keep their values.
        unexpected: parameters of the file that the network does not have, and biases whose kernel was not loaded.
        mismatched: parameters with different shapes in file and network, with both shapes; they keep their values.
    """

    path: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def describe(self) -> str:
        """Returns the report as a few lines of text."""
        lines = [f"pre-trained weights from {self.path}: {len(self.loaded)} of {2 * len(VGG16_KERNELS)} arrays loaded"]
        for title, names in (
            ("loaded", self.loaded),
            ("not in the file, kept unchanged", self.missing),
            ("in the file but not used", self.unexpected),
            ("of another shape, kept unchanged", self.mismatched),
        ):
            if names:
                lines.append(f"  {title}: {', '.join(names)}")
        return "\n".join(lines)


def read_vgg16(path: str | Path) -> Weights:
    """Reads VGG16's convolution weights from a file.

    The layout is recognised by the file suffix and the array names: Keras .h5 and .npz (block1_conv1 …, kernels HWIO),
    torchvision .pth, .pt and .safetensors (features.0.weight …, kernels OIHW, which are transposed). Fully connected
    layers are ignored. The file may hold only a part of VGG16. No code in a file is executed: .npz is read without
    pickles, and .pth with PyTorch's weights_only reader, which needs PyTorch.

    Args:
        path: the weights file.

    Returns:
        {"block1_conv1": {"kernel": (3, 3, in, out), "bias": (out,)}, …}, float32; arrays that are not in the file are
        left out.

    Raises:
        InputError: the file is missing, has an unknown format, is damaged, holds another network, or has arrays of a
            wrong shape, of integers or with non-finite values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            "missing-file",
            f"{path}: no such file; give the path of VGG16's ImageNet weights (Keras .h5, torchvision .pth or "
            ".safetensors, or .npz), or leave it empty for He initialization",
        )
    readers = {
        ".h5": _read_h5,
        ".hdf5": _read_h5,
        ".npz": _read_npz,
        ".pth": _read_torch,
        ".pt": _read_torch,
        ".safetensors": _read_safetensors,
    }
    if path.suffix.lower() not in readers:
        raise InputError(
            "weights-format", f"{path}: unknown file suffix {path.suffix!r}; use one of {', '.join(readers)}"
        )
    weights: Weights = {}
    for name, array in readers[path.suffix.lower()](path):
        place = _place(name, path)
        if place is None:
            continue
        layer, leaf, oihw = place
        if leaf in weights.setdefault(layer, {}):
            raise InputError(
                "weights-twice",
                f"{path}: holds {layer}/{leaf} twice, the second time as {name}; give a file with one network",
            )
        weights[layer][leaf] = _checked(array, name, layer, leaf, oihw, path)
    if not any("kernel" in leaves for leaves in weights.values()):
        raise InputError(
            "weights-empty",
            f"{path}: holds no kernel of VGG16; expected names such as block1_conv1/kernel or features.0.weight",
        )
    return {layer: weights[layer] for layer in VGG16_KERNELS if layer in weights}


def load_pretrained(
    params: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Mapping[str, np.ndarray]], *, path: str | Path
) -> tuple[dict[str, dict[str, Any]], PretrainedReport]:
    """Loads VGG16's kernels and biases into the layers of a network that VGG16 has too.

    In Net.2, the third convolutions of stages 3 to 5 are loaded into the first dilated convolutions of Part 2. A bias
    is loaded only together with its kernel, because the two were trained together.

    Args:
        params: {layer: {"kernel": HWIO, "bias": (out,)}} of Net.1 or Net.2; not changed.
        weights: from `read_vgg16`.
        path: the file of the weights, for messages.

    Returns:
        A copy of `params` with the loaded values, and a report.

    Raises:
        InputError: no kernel fits, because the network has another width or no layers of VGG16.
    """
    filled = {layer: dict(leaves) for layer, leaves in params.items()}
    loaded, unexpected, mismatched = [], [], []
    for layer, leaves in weights.items():
        own = filled.get(layer, {})
        shapes = {leaf: np.shape(own[leaf]) for leaf in leaves if leaf in own}
        fitting = [leaf for leaf in shapes if shapes[leaf] == leaves[leaf].shape]
        for leaf, value in leaves.items():
            name = f"{layer}/{leaf}"
            if leaf not in shapes:
                unexpected.append(name)
            elif leaf not in fitting:
                mismatched.append(f"{name} (file {value.shape}, network {shapes[leaf]})")
            elif leaf == "bias" and "kernel" not in fitting:
                unexpected.append(f"{name} (without its kernel)")
            else:
                own[leaf] = value.astype(own[leaf].dtype)
                loaded.append(name)
    if not loaded:
        remedy = (
            f"{mismatched[0]}; use network width 1, or leave the path of the weights empty for He initialization"
            if mismatched
            else "the network has no layer of VGG16; use net1 or net2, or leave the path of the weights empty"
        )
        raise InputError("weights-misfit", f"{path}: no kernel fits the network: {remedy}")
    missing = [
        f"{layer}/{leaf}"
        for layer in VGG16_KERNELS
        for leaf in ("kernel", "bias")
        if leaf in filled.get(layer, {}) and leaf not in weights.get(layer, {})
    ]
    return filled, PretrainedReport(Path(path), tuple(loaded), tuple(missing), tuple(unexpected), tuple(mismatched))


def _place(name: str, path: Path) -> tuple[str, str, bool] | None:
    """Returns the layer and the leaf of an array's name, and whether kernels are OIHW; None for other arrays."""
    torch_name = _TORCH.search(name)
    if torch_name:
        layer = _FEATURES.get(int(torch_name["number"]))
        leaf = {"weight": "kernel", "bias": "bias"}.get(torch_name["leaf"])
        oihw = True
    else:
        keras_name = _KERAS.search(name)
        if not keras_name or name.startswith("optimizer_weights"):
            return None
        layer = keras_name["layer"] if keras_name["layer"] in VGG16_KERNELS else None
        leaf = "kernel" if keras_name["kernel"] or keras_name["index"] == "0" else "bias"
        oihw = False
    if layer is None or leaf is None:
        raise InputError(
            "weights-other-network",
            f"{path}: holds {name}, which VGG16 does not have; this is another network (VGG11, VGG19, one with batch "
            "normalisation, …): give the weights of plain VGG16",
        )
    return layer, leaf, oihw


def _checked(array: np.ndarray, name: str, layer: str, leaf: str, oihw: bool, path: Path) -> np.ndarray:
    """Checks type, shape and values of an array. Returns it as float32, and a kernel as HWIO."""
    kernel = VGG16_KERNELS[layer]
    expected = kernel[-1:] if leaf == "bias" else tuple(kernel[axis] for axis in (3, 2, 0, 1)) if oihw else kernel
    # For a member of an .npz that is not an array, NumPy returns bytes.
    if not isinstance(array, np.ndarray):
        raise _broken(path, TypeError(f"{name} is not an array"))
    if array.shape != expected:
        raise InputError(
            "weights-shape",
            f"{path}: {name} has shape {array.shape}, but in VGG16 it has {expected}; give the weights of plain VGG16 "
            f"with the {'torchvision (OIHW)' if oihw else 'TensorFlow (HWIO)'} order of dimensions",
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            "weights-type", f"{path}: {name} is of type {array.dtype}; give floating-point weights, not quantised ones"
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InputError(
            "weights-not-finite",
            f"{path}: {name} has {bad} values that are not finite; the file is damaged, download it again",
        )
    if leaf == "kernel" and oihw:
        array = array.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(array, np.float32)


def _broken(path: Path, error: Exception, remedy: str = "download the file again") -> InputError:
    return InputError("weights-unreadable", f"{path}: cannot be read ({error}); {remedy}")


def _read_h5(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        # Fully connected layers are four fifths of a complete VGG16 file. Only the convolutions are read.
        if isinstance(item, h5py.Dataset) and _place(name, path):
            names.append(name)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)  # This does not follow links.
            for name in names:
                _require_plain(file[name], name, path)
                yield name, np.asarray(file[name])
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise _broken(path, error, "give a Keras .h5 file of weights") from error


def _require_plain(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Checks that a dataset reads no other file and takes no more memory than VGG16's largest kernel."""
    if hdf5.leads_elsewhere(dataset):
        raise _broken(path, ValueError(f"{name} lies in another file"), "give a file that holds all its values")
    if filters := hdf5.refused_filters(dataset):
        raise _broken(
            path, ValueError(f"{name} uses the HDF5 filters {filters}"), "save it with deflate compression only"
        )
    if dataset.dtype.kind not in "fiu":
        raise _broken(path, TypeError(f"{name} is of type {dataset.dtype}"), "give floating-point values")
    if (size := hdf5.unpacked_bytes(dataset)) > _MOST_BYTES:
        raise _oversized(path, name, size)
    if (stored := hdf5.stored_bytes_lacking(dataset)) is not None:
        raise _broken(path, ValueError(f"only {stored} bytes of {name} are stored"))


def _oversized(path: Path, name: str, size: int) -> InputError:
    return InputError(
        "weights-shape",
        f"{path}: {name} takes {size} bytes, more than any array of VGG16; give the weights of plain VGG16",
    )


def _read_npz(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        # Opened here, because NumPy leaves the file open if the archive is damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            for member in file.zip.infolist():
                name = member.filename.removesuffix(".npy")
                if not _place(name, path):
                    continue
                # The declared size is safe to check: decompression stops there.
                if member.file_size > _MOST_BYTES:
                    raise _oversized(path, name, member.file_size)
                yield name, file[name]
    except InputError:
        raise
    # For damaged archives, NumPy and zipfile raise many types of exceptions.
    except Exception as error:
        raise _broken(path, error, "give an .npz file of plain arrays, without pickled objects") from error


def _read_safetensors(path: Path) -> Iterable[tuple[str, np.ndarray]]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return [(name, file.get_tensor(name)) for name in file.keys() if _place(name, path)]  # noqa: SIM118
    # For types that NumPy does not have, such as float8, safetensors raises AttributeError.
    except (OSError, safetensors.SafetensorError, AttributeError, TypeError) as error:
        raise _broken(path, error, "give a .safetensors file of float32 or float16 arrays") from error


def _read_torch(path: Path) -> Iterable[tuple[str, np.ndarray]]:
    convert = (
        "convert it to .safetensors on a machine that has PyTorch "
        "(safetensors.torch.save_file(torch.load(…, weights_only=True), …))"
    )
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(
            "no-torch", f"{path}: this format needs PyTorch, which is not installed; install it, or {convert}"
        ) from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < _SAFE_TORCH:
        raise InputError(
            "old-torch",
            f"{path}: PyTorch {torch.__version__} is not safe: a crafted file can make it run code; install "
            f"{'.'.join(map(str, _SAFE_TORCH))} or later, or {convert}",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can make the reader fail in any way. For forbidden code it raises pickle.UnpicklingError.
    except Exception as error:
        summary = str(error).strip().splitlines() or [type(error).__name__]
        raise _broken(
            path, RuntimeError(summary[0]), f"only plain tensors are accepted, not whole models; {convert}"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise _broken(path, TypeError(f"it holds a {type(state).__name__}"), "give a dictionary of tensors")
    return [
        (name, (tensor.float() if tensor.is_floating_point() else tensor).numpy())
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and _place(str(name), path)
    ]
