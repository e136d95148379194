"""MAT files: equal to scipy's reader on what scipy writes, InputError on damage."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from foanet_jax.data.readers.matfile import read_mat
from foanet_jax.system.errors import InputError

DTYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]


def element(kind, content, order="<"):
    """A data element as MathWorks lays it out, padded to 8 bytes."""
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name=b"a", flags=6, shape=(2, 1), kind=9, content=None, order="<"):
    content = np.array([1, 2], f"{order}f8").tobytes() if content is None else content
    return element(
        14,
        element(6, struct.pack(f"{order}II", flags, 0), order)
        + element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
        + element(1, name, order)
        + element(kind, content, order),
        order,
    )


def file_of(path, *elements, order="<"):
    version = struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI")
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + version + b"".join(elements))
    return path


def code_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_mat(path, **options)
    assert str(path) in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("compressed", [False, True])
def test_equals_scipy(tmp_path, compressed):
    rng = np.random.default_rng(0)
    content = {}
    for dtype in DTYPES:
        for number, shape in enumerate([(1, 1), (3, 4), (2, 3, 4), (1, 20), (0, 3), (2, 1, 2, 3)]):
            content[f"{dtype.replace('?', 'b')}_{number}"] = rng.integers(0, 2 if dtype == "?" else 100, shape).astype(
                dtype
            )
    content["a"] = np.array([[-1.5, np.nan, np.inf]])
    content["extreme"] = np.array([[-(2**63), 2**63 - 1]])
    content["a_name_of_more_than_four_letters"] = np.eye(3)
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, content, do_compression=compressed)
    ours, theirs = read_mat(path), scipy.io.loadmat(path, mat_dtype=True)
    assert set(ours) == set(content)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        np.testing.assert_array_equal(array, content[name])
        assert array.dtype == content[name].dtype
        assert array.shape == theirs[name].shape


def test_other_classes_are_passed_over(tmp_path):
    path = tmp_path / "a.mat"
    cells = np.array([np.eye(2), "text"], dtype=object)
    content = {"s": {"x": np.eye(2)}, "c": cells, "t": "text", "z": np.array([1 + 2j]), "n": np.eye(3)}
    scipy.io.savemat(path, content)
    assert list(read_mat(path)) == ["n"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(tmp_path, order):
    content = np.arange(6, dtype=f"{order}i2").tobytes()
    small = struct.pack(f"{order}I", 2 << 16 | 1) + b"ab\0\0"
    body = element(6, struct.pack(f"{order}II", 6, 0), order) + element(5, struct.pack(f"{order}2i", 2, 3), order)
    body += small + element(3, content, order)
    path = file_of(tmp_path / "a.mat", element(14, body, order), matrix(order=order), order=order)
    arrays = read_mat(path)
    # Doubles stored in a smaller type, as MATLAB does, in column order.
    np.testing.assert_array_equal(arrays["ab"], [[0, 2, 4], [1, 3, 5]])
    assert arrays["ab"].dtype == np.float64
    np.testing.assert_array_equal(arrays["a"], [[1], [2]])
    np.testing.assert_array_equal(scipy.io.loadmat(path)["ab"], arrays["ab"])


def test_logical_is_bool(tmp_path):
    path = file_of(tmp_path / "a.mat", matrix(flags=9 | 0x0200, kind=2, content=b"\0\x01"))
    np.testing.assert_array_equal(read_mat(path)["a"], [[False], [True]])


@pytest.mark.parametrize(
    "bad",
    [
        matrix()[:-1],
        matrix()[:12],
        b"\0" * 4,
        element(9, bytes(8)),
        element(14, bytes(16)),
        matrix(flags=99),
        matrix(shape=(2,)),
        matrix(shape=(-2, -1)),
        matrix(shape=(2**30, 2**30)),
        matrix(shape=(3, 1)),
        matrix(shape=(1,) * 40),
        matrix(kind=14),
        matrix(kind=77),
        matrix(name=b"a" * 2000),
        matrix(flags=9, kind=3, content=struct.pack("<2h", 1, 300)),
        matrix(flags=9, kind=9),
        matrix() * 2,
        element(15, b"no zlib"),
        element(15, zlib.compress(b"")),
        element(15, zlib.compress(matrix())[:-2]),
        element(15, zlib.compress(matrix() + b"tail")),
        element(15, zlib.compress(element(15, bytes(16)))),
        element(15, zlib.compress(struct.pack("<II", 14, 500))),
    ],
)
def test_damage_is_refused(tmp_path, bad):
    assert code_of(file_of(tmp_path / "a.mat", bad)) == "corrupt"


def test_files_that_are_no_mat_file(tmp_path):
    path = tmp_path / "a.mat"
    assert code_of(path) == "missing-file"
    assert code_of(tmp_path) == "not-a-file"
    for content, code in [(b"", "empty-file"), (b"hello", "not-mat"), (bytes(300), "not-mat")]:
        path.write_bytes(content)
        assert code_of(path) == code
    scipy.io.savemat(path, {"a": np.eye(3)}, format="4")
    assert code_of(path) == "not-mat"


def test_budget(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"a": np.zeros(2**17)}, do_compression=True)
    assert code_of(path, budget_bytes=2**20) == "too-large"
    read_mat(path, budget_bytes=2**22)


@pytest.mark.parametrize("compressed", [False, True])
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 7)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_flipped_bits_never_crash(tmp_path_factory, compressed, flips):
    path = tmp_path_factory.mktemp("flips") / "a.mat"
    content = {"image": np.arange(60, dtype=np.uint8).reshape(3, 4, 5), "areas": np.ones((2, 5)), "t": "text"}
    scipy.io.savemat(path, content, do_compression=compressed)
    damaged = bytearray(path.read_bytes())
    for place, bit in flips:
        damaged[128 + place % (len(damaged) - 128)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        arrays = read_mat(path, budget_bytes=2**20)
    except InputError:
        return
    assert all(array.dtype.kind in "fiub" for array in arrays.values())


def test_version_7_3(tmp_path):
    path = tmp_path / "a.mat"
    image = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.eye(2)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("image", data=image.T).attrs["MATLAB_class"] = np.bytes_("uint16")
        file.create_dataset("endo", data=(image > 3).T.astype(np.uint8)).attrs["MATLAB_class"] = np.bytes_("logical")
        file.create_dataset("text", data=np.array([[72]], np.uint16)).attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("struct")["x"] = np.eye(2)
        file["big"] = np.array([[1.5, 2.5]], ">f4")
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        file["soft"] = h5py.SoftLink("/image")
    content = path.read_bytes()
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + content[128:])
    arrays = read_mat(path)
    assert set(arrays) == {"image", "endo", "big"}
    np.testing.assert_array_equal(arrays["image"], image)
    assert arrays["image"].dtype == np.uint16
    np.testing.assert_array_equal(arrays["endo"], image > 3)
    assert arrays["endo"].dtype == bool
    np.testing.assert_array_equal(arrays["big"], [[1.5], [2.5]])
    assert code_of(path, budget_bytes=30) == "too-large"
    path.write_bytes(path.read_bytes()[:1500])
    assert code_of(path) == "corrupt"


@pytest.mark.parametrize("options", [{"fletcher32": True}, {"scaleoffset": 2}, {"fletcher32": True, "shuffle": True}])
def test_version_7_3_with_filters_that_crash_on_damage(tmp_path, options):
    """One flipped bit makes Fletcher's sums of shuffle: checked on two bytes, they were a segmentation fault."""
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("flag", data=np.array([[1], [0]], np.uint8), chunks=True, **options)
    assert code_of(path) == "hdf5-filter"
    with h5py.File(path, "w") as file:
        file.create_dataset("flag", data=np.array([[1, 0]]), chunks=(1, 2), compression="gzip", shuffle=True)
    np.testing.assert_array_equal(read_mat(path)["flag"], [[1], [0]])


def test_version_7_3_with_huge_chunks(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.ones((1, 1)), maxshape=(None, None), chunks=(512, 512), compression="gzip")
    assert code_of(path, budget_bytes=2**20) == "too-large"
    np.testing.assert_array_equal(read_mat(path)["a"], [[1]])


def test_version_7_3_of_other_writers(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file["scalar"], file["vector"], file["none"] = 1.25, np.arange(3), h5py.Empty("f8")
    arrays = read_mat(path)
    assert set(arrays) == {"scalar", "vector"}
    np.testing.assert_array_equal(arrays["scalar"], [[1.25]])
    np.testing.assert_array_equal(arrays["vector"], [[0], [1], [2]])
