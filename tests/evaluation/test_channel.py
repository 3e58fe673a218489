"""Channels: frames, and whatever else comes through their pipes."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zlib
from collections.abc import Iterator

import pytest

from menndl_dask.evaluation.channel import Channel, FrameError, out_of_reach


@pytest.fixture
def pipe() -> Iterator[tuple[Channel, int]]:
    """Return a channel that listens, and the descriptor that writes to it."""
    reading, writing = os.pipe()
    listener = Channel(reading)
    yield listener, writing
    listener.close()
    os.close(writing)


def _read_all(listener: Channel) -> None:
    while not listener.read(1000):
        pass


def _frame(body: bytes, mark: bytes = b"MNDL", length: int | None = None) -> bytes:
    return struct.pack("!4sIQ", mark, zlib.crc32(body), len(body) if length is None else length) + body


def test_a_channel_without_an_other_side_says_so() -> None:
    reading, writing = os.pipe()
    listener, speaker = Channel(reading), Channel(writing=writing)
    with pytest.raises(TimeoutError):
        listener.receive(0.01)
    with pytest.raises(TimeoutError):
        speaker.send(bytes(1 << 20), 0.01)
    speaker.close()
    with pytest.raises(EOFError):
        listener.receive(1)
    listener.close()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a line that was printed\n", "expected a frame of at most 1000 bytes, got b'a line that was '"),
        (_frame(b"x" * 1001), "expected a frame of at most 1000 bytes, got"),
        (_frame(b"", length=2**64 - 1), "expected a frame of at most 1000 bytes, got"),
        (_frame(b""), "expected a frame of at most 1000 bytes, got"),
        (_frame(b"abcdef")[:-3] + b"xyz", "expected the rest of a frame, got b'abcxyz'"),
        (_frame(b"no pickle"), "a frame cannot be read: UnpicklingError"),
        (_frame(pickle.dumps(1)[:-1]), "a frame cannot be read: "),
    ],
)
def test_what_is_no_frame_is_an_error_at_once(pipe: tuple[Channel, int], data: bytes, told: str) -> None:
    listener, writing = pipe
    os.write(writing, data)
    with pytest.raises(FrameError) as caught:
        _read_all(listener)
    assert str(caught.value).startswith(told)


def test_a_frame_is_read_in_parts_without_waiting_for_the_rest(pipe: tuple[Channel, int]) -> None:
    listener, writing = pipe
    frames = _frame(pickle.dumps({"at": 1.0})) + _frame(pickle.dumps("next"))
    found = []
    for byte in frames:
        os.write(writing, bytes([byte]))
        found += listener.read()
    assert found == [{"at": 1.0}, "next"]


def test_a_forked_process_cannot_speak_for_the_other(pipe: tuple[Channel, int]) -> None:
    speaker = Channel(writing=os.dup(pipe[1]))
    speaker._process = os.getpid() + 1  # as in a process that was forked from that one
    with pytest.raises(BrokenPipeError, match="forked from a training"):
        speaker.send("hello")
    speaker.close()


def test_a_descriptor_is_moved_where_loops_do_not_close_it() -> None:
    reading, writing = os.pipe()
    high = out_of_reach(writing)
    assert high >= min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 10)
    os.write(high, b"x")
    assert os.read(reading, 1) == b"x"
    os.close(high)
    assert os.read(reading, 1) == b""  # the other one is closed
    os.close(reading)
