"""Kept programs: the same numbers from memory, disk and tracing; names that change with what they depend on."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.network import NetworkSpec, init_network, probabilities
from foanet_jax.system import programs


@functools.partial(jax.jit, static_argnames="spec")
def polynomial(variables, images, spec, extents):
    return sum(a * images**n for n, a in enumerate(spec)) * variables["gain"] + extents.sum()


ARGUMENTS = {"gain": np.float32(2)}, np.arange(6, dtype=np.float32).reshape(2, 3), (1.0, 0.0, 3.0), np.ones((2, 2), int)
EXPECTED = 2 * (1 + 3 * ARGUMENTS[1] ** 2) + 4


@pytest.fixture
def cache(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    monkeypatch.setattr(programs, "_LOADED", {})
    monkeypatch.setattr(programs.jax, "local_device_count", lambda: 1)  # The tests have two.
    yield tmp_path / programs.FOLDER
    jax.config.update("jax_compilation_cache_dir", before)


def call(function, variables, images, spec, extents):
    return np.asarray(programs.kept(function, variables, images, spec, extents)(variables, images, extents))


def counted(monkeypatch):
    """Counts how often a program is traced."""
    made = []
    real = programs.export.export
    monkeypatch.setattr(programs.export, "export", lambda function: made.append(function) or real(function))
    return made


def forget():
    programs._LOADED.clear()


def test_traced_once_then_from_memory_then_from_disk(cache, monkeypatch):
    made = counted(monkeypatch)
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    assert len(made) == 1
    assert len(list(cache.iterdir())) == 1
    forget()
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    assert len(made) == 1


def test_other_shapes_types_and_settings_have_other_programs(cache, monkeypatch):
    made = counted(monkeypatch)
    variables, images, spec, extents = ARGUMENTS
    call(polynomial, *ARGUMENTS)
    for other in (
        (variables, images[:1], spec, extents),
        (variables, images.astype(np.int32), spec, extents),
        (variables, images, (1.0, 0.0, 4.0), extents),
        ({"gain": np.float32([2, 2, 2])}, images, spec, extents),
    ):
        before = len(made)
        np.testing.assert_allclose(call(polynomial, *other), np.asarray(polynomial(*other)))
        assert len(made) == before + 1
    assert len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"not a program", b"\0" * 100], ids=["empty", "text", "zeros"])
def test_a_damaged_program_is_traced_again(cache, monkeypatch, content):
    made = counted(monkeypatch)
    call(polynomial, *ARGUMENTS)
    (file,) = cache.iterdir()
    file.write_bytes(content)
    forget()
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    assert len(made) == 2
    assert file.read_bytes() != content


def test_the_name_changes_with_precision_versions_and_source(cache, monkeypatch):
    def name():
        return programs._digest(polynomial, ARGUMENTS[2], ARGUMENTS[:2])

    names = [name(), name()]
    assert len(set(names)) == 1
    with jax.default_matmul_precision("bfloat16"):
        names.append(name())
    monkeypatch.setattr(programs.jax, "__version__", "0.0")
    names.append(name())
    monkeypatch.setattr(programs, "_source", lambda: "other")
    names.append(name())
    assert len(set(names)) == 4


def test_without_a_cache_the_function_is_called(cache, monkeypatch):
    made = counted(monkeypatch)
    jax.config.update("jax_compilation_cache_dir", None)
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    assert len(made) == 0
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/cache")
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)
    assert len(made) == 0
    assert not cache.exists()


def test_inside_a_traced_function_the_function_is_called(cache):
    variables, images, spec, extents = ARGUMENTS
    traced = jax.jit(lambda x: programs.kept(polynomial, variables, x, spec, extents)(variables, x, extents))
    np.testing.assert_allclose(traced(images), EXPECTED)
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_to_is_no_error(cache):
    cache.write_text("a file where the folder should be")
    np.testing.assert_allclose(call(polynomial, *ARGUMENTS), EXPECTED)


def test_the_oldest_programs_are_removed(cache, monkeypatch):
    monkeypatch.setattr(programs, "MOST_FILES", 2)
    variables, images, _, extents = ARGUMENTS
    for number in range(3):
        call(polynomial, variables, images, (float(number),), extents)
        for age, file in enumerate(sorted(cache.iterdir(), key=lambda file: file.stat().st_mtime_ns)):
            os.utime(file, (age, age))
    assert len(list(cache.iterdir())) == 2


def test_a_network_has_the_same_bits_from_disk(cache):
    spec = NetworkSpec("net1", width=0.125, classes=3)
    variables = init_network(jax.random.key(0), spec)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    extents = jnp.array([[32, 32], [20, 30]])
    expected = np.asarray(probabilities(variables, images, spec, extents))
    for _ in range(2):
        forget()
        np.testing.assert_array_equal(call(probabilities, variables, images, spec, extents), expected)
