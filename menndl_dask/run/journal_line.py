r"""The lines of a journal: an event in JSON with its checksum, and what can be read of damaged files. Pure.

A line is a JSON object that begins with its kind, ``event``, and ends with ``crc``, the CRC-32 of the object without
it. Other programs change how a journal is written, but not what it says: line ends, spaces, another encoding, one array
instead of lines. An event that has its checksum once it is written as here counts as whole. One that has not is never
trusted.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import chain, combinations
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

Event = dict[str, Any]
_TAIL = len(',"crc":"00000000"}')
_MOST = 2**26  # bytes of damage that are looked at together, and of a line
_BEGIN = re.compile(rb'\{\s*"event"\s*:')
_END = re.compile(rb'"crc"\s*:\s*"[0-9a-f]{8}"\s*\}')
_ENDED = re.compile(_END.pattern + rb"[\s,\]]*\Z")
_KIND = re.compile(rb'"event"\s*:\s*"(\w+)"')
_ID = re.compile(rb'"id"\s*:\s*(\d+)')
_IGNORED = b" \t\r\n,[]\xef\xbb\xbf"  # between events: white space, arrays, and the byte order mark of UTF-8
_ENCODINGS = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    # more than one character: a single byte may be damaged
    ('{"ev'.encode("utf-32-le"), "utf-32-le"), ('{"ev'.encode("utf-16-le"), "utf-16-le"),
    ('{"ev'.encode("utf-16-be"), "utf-16-be"),
)  # fmt: skip
# jq until 1.6 writes 3.0 as 3; in a result these keys have integers
_INTEGERS = {"parameters", "memory_bytes", "seed"}
_FLOATS = {"time", "hours", "factor"}  # and these have other numbers, outside of a result
_PLAIN = ("costs", "metrics", "curve", "times")  # parts of a result that have numbers only: null was NaN
_MOST_EXCEPTIONS = 3  # keys that may differ from that
_MOST_FAILURES = 2000  # tries in a row, after which exceptions are no longer looked for: for some seconds
_MOST_KNOWN = 100_000
_damaged: set[bytes] = set()  # digests of lines that were found to be damaged, since a report reads a journal often


def line_of(event: Mapping[str, Any]) -> bytes:
    r"""Return an event as a line of the journal.

    >>> line_of({"event": "note", "message": "2 workers"})
    b'{"event":"note","message":"2 workers","crc":"6a52e8c2"}\n'
    """
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=True)
    body = text.encode(errors="backslashreplace")  # half a character, such as of a file name, is an escape in JSON too
    return b'%s,"crc":"%08x"}\n' % (body[:-1], crc32(body))


def is_whole(line: bytes) -> bool:
    """Return whether a line is complete, as `line_of` writes it, and its checksum is right."""
    if not line.endswith(b'"}\n') or len(line) <= _TAIL + 1:
        return False
    body, tail = line[: -_TAIL - 1] + b"}", line[-_TAIL - 1 : -1]
    return tail == b',"crc":"%08x"}' % crc32(body)


class Part(NamedTuple):
    """A part of a journal."""

    line: bytes | None  # a whole event, as `line_of` writes it; None for damage
    raw: bytes  # as it stands in the file

    @property
    def kind(self) -> str:
        """The kind of the event, also of a damaged one; empty if it cannot be known."""
        found = _KIND.search(self.raw[:200])
        return found[1].decode() if found else ""

    @property
    def id(self) -> int | None:
        """The number of the individual of a damaged event; None if it cannot be known."""
        found = _ID.search(self.raw[:400])
        return int(found[1][:18]) if found else None


def parts_of(file: BinaryIO) -> Iterator[Part]:
    """Yield the whole events of a journal in order, and the damage between them."""
    reader = _Reader()
    damage = bytearray()
    for raw in _raw_lines(file):
        if is_whole(raw):
            if damage:
                yield from reader.parts(bytes(damage))
                damage.clear()
            yield Part(raw, raw)
            continue
        damage += raw
        if len(damage) >= _MOST or _ENDED.search(damage[-100:]):
            yield from reader.parts(bytes(damage))
            damage.clear()
    yield from reader.parts(bytes(damage))


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file as UTF-8; of a hole in it, of any length, only the beginning."""
    head = file.read(16)
    file.seek(0)
    encoding = next((name for mark, name in _ENCODINGS if head.startswith(mark)), None)
    if encoding is not None:
        text = io.TextIOWrapper(file, encoding, errors="replace", newline="\n")
        try:
            while line := text.readline(_MOST):
                yield line.encode()
        finally:
            text.detach()  # the file is its opener's to close
        return
    while raw := file.readline(_MOST):
        yield raw
        if len(raw) == _MOST and not raw.strip(b"\0"):
            try:
                file.seek(file.tell(), os.SEEK_DATA)
            except OSError:  # there is no more
                return


class _Reader:
    """Finds whole events in what is not written as `line_of` writes it."""

    def __init__(self) -> None:
        self._exceptions: tuple[str, ...] = ()  # keys whose numbers are of another type than expected, as found so far
        self._failures = 0  # tries in a row

    def parts(self, damage: bytes) -> Iterator[Part]:
        """Yield the whole events that are in a piece of a file, and the rest of it."""
        done = 0
        for end in _END.finditer(damage):
            starts = [found.start() for found in _BEGIN.finditer(damage, done, end.start())]
            for start in dict.fromkeys((*starts[-1:], *starts[:1])):
                line = self._line(damage[start : end.end()])
                if line is not None:
                    yield from _rest(damage[done:start])
                    yield Part(line, damage[start : end.end()])
                    break
            else:
                yield from _rest(damage[done : end.end()])
            done = end.end()
        yield from _rest(damage[done:])

    def _line(self, text: bytes) -> bytes | None:
        """Return an event that another program has written anew as `line_of` writes it; None if it is damaged."""
        known = blake2b(text).digest()
        if known in _damaged:
            return None
        for encoding in ("utf-8",) if text.isascii() else ("utf-8", "cp1252", "latin-1"):
            try:
                event = json.loads(text.decode(encoding))
                crc = event.pop("crc")
                line = self._with_checksum(event, str(crc).encode())
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError):
                continue
            if line is not None:
                return line
        if len(_damaged) < _MOST_KNOWN:
            _damaged.add(known)
        return None

    def _with_checksum(self, event: Event, crc: bytes) -> bytes | None:
        """Return the line of an event if it has this checksum, maybe with numbers of another type."""
        line = line_of(event)
        if line[-11:-3] == crc:
            return line
        keys = sorted(_integer_keys(event))
        sizes = range(_MOST_EXCEPTIONS + 1 if self._failures < _MOST_FAILURES else 0)
        for exceptions in chain((self._exceptions,), *(combinations(keys, size) for size in sizes)):
            line = line_of(_retyped(event, frozenset(exceptions)))
            if line[-11:-3] == crc:
                self._exceptions, self._failures = exceptions, 0
                return line
            self._failures += 1
        return None


def _rest(damage: bytes) -> Iterator[Part]:
    if damage.strip(_IGNORED):
        yield Part(None, damage)


def _integer_keys(value: Any, key: str = "") -> set[str]:
    """Return the keys whose values are integers, alone or in lists."""
    if isinstance(value, dict):
        return {found for name, each in value.items() for found in _integer_keys(each, name)}
    if isinstance(value, list):
        return {found for each in value for found in _integer_keys(each, key)}
    return {key} if type(value) is int else set()


def _retyped(value: Any, exceptions: frozenset[str], key: str = "", result: bool = False, plain: bool = False) -> Any:
    """Return a value with numbers of the types that they are expected to have, but for those of some keys."""
    if isinstance(value, dict):
        return {
            name: _retyped(each, exceptions, name, result or name == "result", plain or (result and name in _PLAIN))
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_retyped(each, exceptions, key, result, plain) for each in value]
    if value is None and plain:
        return math.nan
    if type(value) is int:
        is_float = key not in _INTEGERS if result else key in _FLOATS
        return float(value) if is_float != (key in exceptions) else value
    return math.copysign(math.inf, value) if value in (_LARGEST, -_LARGEST) else value


_LARGEST = 1.7976931348623157e308  # jq writes infinity so
