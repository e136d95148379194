"""Ways to damage bytes, each a pure function of its random numbers."""

import contextlib
import dataclasses
import json
import random
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

_INTEGERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16, 32, 64, 127, 128, 255, 256, 348, 352, 512, 540, 1024)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 100.0, 348.0, 352.0, 352.5, 544.0, 1e-30, 1e-6, 1e6, 1e30)
_ODD_FLOATS = (float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e-45)
_TOKENS = (
    *(b"0", b"-1", b"1e999", b"-0", b"NaN", b"Infinity", b"null", b"true", b'""', b"[]", b"{}", b"1.5", b"\0"),
    *(b"9" * 30, b"9" * 400, b"9" * 5000, b"[" * 3000, b'{"a":' * 500, b'"\\ud800"', b"\xff\xfe", b"\xe2\x80\xae"),
    *(b"\n", b"\r", b":", b",", b'"', b"\\", b"ED", b"ES", b"Group", b"train", b"test", b"seed", b"folds"),
)
_VALUES = (
    *(0, 1, 2, 5, -1, 0.5, 1.5, 10**30, 10**400, 1e308, float("nan"), float("inf"), True, False, None),
    *("", "0", "x", "9" * 5000, "\ud800", "a\0b", "../x", "/", "é", [], {}, [[]], [None], {"a": 1}, [0, 0]),
)


@dataclasses.dataclass(frozen=True)
class Field:
    """A number in a file: where it is, struct's letter for it, and the byte order."""

    offset: int
    letter: str
    order: str = "<"


def bit_flips(content: bytes, rng: random.Random) -> bytes:
    """Flips one bit or a few."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def byte_changes(content: bytes, rng: random.Random) -> bytes:
    """Overwrites one byte or a few."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def truncation(content: bytes, rng: random.Random) -> bytes:
    """Cuts the end off."""
    return content[: rng.randrange(len(content))]


def insertion(content: bytes, rng: random.Random) -> bytes:
    """Inserts up to 16 random bytes."""
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.randint(1, 16)) + content[place:]


def deletion(content: bytes, rng: random.Random) -> bytes:
    """Takes up to 16 bytes out."""
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randint(1, 16) :]


def run_of_one_byte(content: bytes, rng: random.Random) -> bytes:
    """Overwrites a stretch with zeros, ones or one value, as a bad block of a disk does."""
    start = rng.randrange(len(content))
    length = min(rng.choice((4, 16, 64, 512)), len(content) - start)
    return content[:start] + bytes([rng.choice((0, 0, 0xFF, rng.randrange(256)))]) * length + content[start + length :]


def duplication(content: bytes, rng: random.Random) -> bytes:
    """Repeats a stretch."""
    start = rng.randrange(len(content))
    end = start + rng.choice((1, 4, 8, 16, 64, len(content)))
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 5)) + content[end:]


def exchange(content: bytes, rng: random.Random) -> bytes:
    """Swaps two stretches of equal length."""
    length = min(rng.choice((1, 2, 4, 8, 32)), len(content) // 2)
    a = rng.randrange(len(content) - 2 * length + 1)
    b = rng.randint(a + length, len(content) - length)
    first, second = content[a : a + length], content[b : b + length]
    return content[:a] + second + content[a + length : b] + first + content[b + length :]


def splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """The start of one file and the end of another."""
    place = rng.randrange(1, len(content) + 1)
    return content[:place] + other[place if rng.random() < 0.5 else rng.randrange(len(other)) :]


def field_havoc(content: bytes, fields: Sequence[Field], rng: random.Random) -> bytes:
    """Sets up to three numbers to values that a careless writer could have put there."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        field = rng.choice(fields)
        kind = field.order + field.letter
        size = struct.calcsize(kind)
        if field.offset + size > len(out):
            continue
        old = struct.unpack_from(kind, out, field.offset)[0]
        if field.letter in "fd":
            new = rng.choice((*_FLOATS, *_ODD_FLOATS, -old, old * 1000, old / 1000, rng.uniform(-1000, 1000)))
            if field.letter == "f" and abs(new) > 3.4e38 and new == new:
                new = float("inf")
        else:
            bits = 8 * size
            top = 1 << (bits - (1 if field.letter.islower() else 0))
            near = (old + 1, old - 1, 2 * old, -old, top - 1, top // 2, top // 2 - 1, top - old, -1, -top // 2)
            new = rng.choice((*_INTEGERS, *near)) % (1 << bits)
            if field.letter.islower() and new >= 1 << (bits - 1):
                new -= 1 << bits
        struct.pack_into(kind, out, field.offset, new)
    return bytes(out)


def token_havoc(content: bytes, rng: random.Random) -> bytes:
    """Replaces, repeats or removes words, signs or lines of a text."""
    parts = re.findall(rb"[A-Za-z0-9_.+-]+|\s+|[^\sA-Za-z0-9]", content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(parts))
        parts[place] = rng.choice((rng.choice(_TOKENS), rng.choice(parts), parts[place] * 2, b""))
    return b"".join(parts)


def json_havoc(content: bytes, rng: random.Random) -> bytes:
    """Replaces, swaps or removes values of a JSON text, or changes nothing where it is none."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places: list[tuple[Any, Any]] = []
    _walk(tree, places)
    for _ in range(rng.choice((1, 1, 2, 3)) if places else 0):
        holder, key = rng.choice(places)
        other_holder, other_key = rng.choice(places)
        with contextlib.suppress(LookupError):  # an earlier change may have removed the place
            if rng.random() < 0.15:
                del holder[key]
            elif rng.random() < 0.3:
                holder[key] = json.loads(json.dumps(other_holder[other_key]))
            else:
                holder[key] = rng.choice(_VALUES)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", errors="surrogatepass")


def _walk(tree: Any, places: list[tuple[Any, Any]]) -> None:
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        places.append((tree, key))
        _walk(tree[key], places)


_PLAIN: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    bit_flips,
    bit_flips,
    byte_changes,
    byte_changes,
    truncation,
    insertion,
    deletion,
    run_of_one_byte,
    duplication,
    exchange,
)


def damage(
    content: bytes, *, fields: Sequence[Field], others: Sequence[bytes], text: bool, rng: random.Random
) -> bytes:
    """The content after one mutation, or at times after two or three in a row.

    Args:
        content: what to damage.
        fields: the numbers in it, for field_havoc; may be empty.
        others: contents that it can be spliced with; may be empty.
        text: whether token_havoc makes sense.
        rng: the source of all choices.
    """
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        choice = rng.random()
        if not content:
            content = rng.randbytes(rng.randint(1, 8))
        elif text and choice < 0.5:
            is_json = content.lstrip()[:1] in (b"{", b"[") and rng.random() < 0.7
            content = json_havoc(content, rng) if is_json else token_havoc(content, rng)
        elif fields and choice < 0.4:
            content = field_havoc(content, fields, rng)
        elif others and choice > 0.95:
            content = splice(content, rng.choice(others), rng)
        else:
            content = rng.choice(_PLAIN)(content, rng)
    return content
