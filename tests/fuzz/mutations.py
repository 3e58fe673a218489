"""Damage of files and values at random: bytes, and values of JSON and YAML. Pure."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 255, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**12, 10**30, 10**400),
    *(0.5, -0.5, 1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf),
    *("", " ", "x", "é", "\x00", "\n", "a\nb", "\x1b[31m", "\u202e", "1", "-1", "1e9", "nan", "null", "~", "0x10"),
    *("../../etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem", "/", ".", "..", "%s", "{}", "${HOME}", "a" * 300),
    *("x" * 20_000, "float32", "int8", "<f8", "|O", "complex128", "image", "label", "local", "os:system"),
    *([], {}, [[]], [{}], {"": None}, [None], [0], [-1], [1, 2, 3], ["a"], {"a": {"b": {"c": []}}}, list(range(300))),
)
_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))


def odd(rng: np.random.Generator, more: Sequence[Any] = ()) -> Any:
    """Return an odd value."""
    values = (*ODD, *more, *more, *more)
    return copy.deepcopy(values[rng.integers(len(values))])


def mutated_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some damage, mostly small."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        data = _BYTES[rng.integers(len(_BYTES))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    # headers are at the beginning, and at the end of some formats
    length = len(data) or 1
    near = int(rng.choice([8, 64, 512, length]))
    place = int(rng.integers(min(near, length)))
    return length - 1 - place if rng.random() < 0.2 else place


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.choice([1, 2, 16]))):
        if changed:
            changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    number = int(rng.choice(np.array(_NUMBERS, dtype=object)))
    size = int(rng.choice([1, 2, 4, 8]))
    raw = (number % 2 ** (8 * size)).to_bytes(size, "little" if rng.random() < 0.5 else "big")
    place = _place(data, rng)
    return data[:place] + raw + data[place + size :]


def _float(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + struct.pack("<f", float(rng.choice([math.nan, math.inf, -1e30, 0]))) + data[place + 4 :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.choice([1, 2, 7, 100, 4096])) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    place, size = _place(data, rng), int(rng.choice([1, 4, 64, 1000]))
    return data[:place] + data[place : place + size] * int(rng.choice([2, 3, 50])) + data[place + size :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    words = (
        b"\x00",
        b"\xff",
        b"\n",
        b"\r\n",
        b"\x1b[2J",
        b"\xef\xbb\xbf",
        b"NaN",
        b"-",
        b"9" * 400,
        b"{" * 3000,
        b"[" * 100_000,
    )
    return data[:place] + words[rng.integers(len(words))] + data[place:]


def _zeros(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + bytes(len(data[place : place + 4096])) + data[place + 4096 :]


def _encoded(data: bytes, rng: np.random.Generator) -> bytes:
    kind = int(rng.integers(4))
    if kind == 0:
        return data.replace(b"\n", b"\r\n")
    if kind == 1:
        return data.decode(errors="replace").encode("utf-16")
    return (b"\xef\xbb\xbf" + data) if kind == 2 else data.replace(b"\n", b"")


def _nothing(data: bytes, rng: np.random.Generator) -> bytes:
    return b"" if rng.random() < 0.5 else rng.bytes(int(rng.integers(200)))


_BYTES = (
    _flip,
    _flip,
    _flip,
    _number,
    _number,
    _number,
    _float,
    _cut,
    _remove,
    _repeat,
    _insert,
    _zeros,
    _encoded,
    _nothing,
)


def mutated_value(value: Any, rng: np.random.Generator, more: Sequence[Any] = ()) -> Any:
    """Return a copy of a value of JSON with some damage: odd values, keys that are gone, renamed or new, odd depth."""
    holder = [copy.deepcopy(value)]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        places = list(_places(holder))
        container, key = places[rng.integers(len(places))]
        _damage(container, key, rng, more)
    return holder[0]


def _places(value: Any) -> Any:
    left = [value]
    while left:
        container = left.pop()
        for key, inner in list(container.items() if isinstance(container, dict) else enumerate(container)):
            yield container, key
            if isinstance(inner, (dict, list)):
                left.append(inner)


def _damage(container: Any, key: Any, rng: np.random.Generator, more: Sequence[Any]) -> None:
    kind = int(rng.integers(10))
    inner = container[key]
    if kind == 0 and isinstance(container, dict):
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[str(odd(rng))[:50]] = container.pop(key)
    elif kind == 2:
        container[key] = [inner]
    elif kind == 3 and isinstance(inner, list) and inner:
        inner[:] = inner * int(rng.choice([0, 2, 30]))
    elif kind == 4 and isinstance(inner, (int, float)) and not isinstance(inner, bool):
        factor = [-1, 0, 2, 1000, 10**12][rng.integers(5)]
        with np.errstate(all="ignore"):  # an integer may be larger than any real number
            container[key] = 0 if isinstance(inner, float) and not math.isfinite(inner) else inner * factor
    elif kind == 5 and isinstance(inner, str):
        container[key] = mutated_bytes(inner.encode(errors="replace"), rng)[:5000].decode(errors="replace")
    elif kind == 6 and rng.random() < 0.2:
        deep: Any = inner
        for _ in range(int(rng.choice([50, 400, 5000]))):
            deep = [deep] if isinstance(container, list) else {"a": deep}
        container[key] = deep
    elif kind == 7 and isinstance(container, dict):
        container[str(odd(rng))[:50]] = odd(rng, more)
    else:
        container[key] = odd(rng, more)


def as_json(value: Any, rng: np.random.Generator) -> bytes:
    """Return JSON of a value, also of one that is too deep for the encoder; sometimes damaged."""
    try:
        data = json.dumps(value).encode(errors="surrogatepass")
    except (RecursionError, ValueError, UnicodeEncodeError):
        data = b"[" * 20_000 + b"]" * 20_000
    return mutated_bytes(data, rng) if rng.random() < 0.1 else data
