"""Traced programs that are kept on disk between processes.

JAX's own cache keeps machine code. To find it, each process traces and lowers a network again, which on a CPU can take
longer than the forward pass of a stack. Here, the lowered program is kept too, as a portable artifact of `jax.export`.
It is found by its function, shapes and versions, without tracing.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax import export

import foanet_jax
from foanet_jax.system.atomic import atomic_path

LOGGER = logging.getLogger(__name__)
FOLDER, SUFFIX = "programs", ".stablehlo"
MOST_FILES = 64  # of half a MB each; the oldest are removed
_SOURCES = ("network", "image")  # the folders whose source decides what a program computes
_LOADED: dict[Any, Callable] = {}


def kept(function: Callable, variables, images, spec, extents) -> Callable:
    """Returns `function` for arguments of these shapes and this `spec`, without tracing it if its program is on disk.

    Programs lie in the folder of JAX's cache. They are kept only for a single device, and only if that cache is on.
    Otherwise, and whenever a program cannot be read or made, the function is called as usual.

    Args:
        function: a jitted function of (variables, images, spec, extents) with the static argument `spec`.
        variables, images, extents: arrays, or trees of arrays.
        spec: hashable, with a `repr` that names all of its settings.

    Returns:
        A function of (variables, images, extents).
    """

    def as_usual(variables, images, extents):
        return function(variables, images, spec, extents)

    arguments = (variables, images, extents)
    folder = _folder()
    if folder is None or any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
        return as_usual
    key = (function, spec, _shapes(arguments), _settings())
    if key not in _LOADED:
        path = folder / f"{_digest(function, spec, arguments)}{SUFFIX}"
        try:
            exported = _read(path) or _make(function, arguments, spec, path)
        except Exception as error:  # Exporting is only a matter of speed; the usual call reports what is really wrong.
            LOGGER.debug("%s: not kept (%s)", path, error)
            return as_usual
        _LOADED[key] = jax.jit(exported.call)
    return _LOADED[key]


def _folder() -> Path | None:
    config: Any = jax.config
    cache = config.jax_compilation_cache_dir
    if not cache or "://" in cache or jax.local_device_count() > 1:
        return None
    return Path(cache) / FOLDER


def _shapes(arguments: Any) -> tuple[Any, ...]:
    leaves, tree = jax.tree.flatten(arguments)
    return (tree, *((leaf.shape, str(leaf.dtype)) for leaf in leaves))


def _settings() -> tuple[str, ...]:
    config: Any = jax.config  # Its fields are defined at run time.
    return tuple(map(str, (config.jax_enable_x64, config.jax_default_matmul_precision, jax.default_backend())))


def _digest(function: Callable, spec: Any, arguments: Any) -> str:
    """Returns a name for a program that changes with everything on which the program depends."""
    name = f"{function.__module__}.{function.__qualname__}"
    versions = (jax.__version__, jaxlib.__version__, _source())
    text = repr((name, spec, str(_shapes(arguments)), _settings(), versions))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _source() -> str:
    """Returns a digest of the source code that the programs are made from."""
    digest = hashlib.sha256(foanet_jax.__version__.encode())
    package = Path(foanet_jax.__file__).parent
    for path in sorted(path for folder in _SOURCES for path in (package / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> export.Exported | None:
    if not path.is_file():
        return None
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # A damaged file can fail in many ways; it is made again.
        LOGGER.debug("%s: not used (%s)", path, error)
        return None


def _make(function: Callable, arguments: tuple[Any, ...], spec: Any, path: Path) -> export.Exported:
    """Traces a program and stores it. If it cannot be stored, later processes trace it again."""
    variables, images, extents = arguments
    exported = export.export(function)(variables, images, spec, extents)  # type: ignore[arg-type]
    content = exported.serialize()
    with contextlib.suppress(OSError):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        stored = sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        for old in stored[:-MOST_FILES]:
            old.unlink(missing_ok=True)
    return exported
