"""Ctrl-C, SIGTERM and SIGHUP: the first one ends a program in order, a second one at once. Runs on the driver.

The first one raises `KeyboardInterrupt` in the main thread, or where that would leave something half made, at the end
of that part. A second one ends the process without waiting for anything: its child processes are killed, and what was
registered with `at_once` is done. A thread acts on it also while the main thread runs C code, such as a file server
that does not answer, where Python handles no signal.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

from menndl_dask.errors import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# signals within this time are one: a terminal and a launcher, or a batch system and a parent, may both send it
SAME_S = {signal.SIGINT: 0.1, signal.SIGTERM: 2.0, signal.SIGHUP: 2.0}


class _State:
    """What has been received; there is one for the process."""

    message = "stopped"  # said when the process ends at once
    is_handled = False  # whether our handlers are installed
    first: float | None = None  # time when the first signal was handled
    received: float | None = None  # time when it was received
    name = ""  # its name; empty for Ctrl-C
    delays = 0  # parts that are not to be interrupted
    is_raised = False
    last_acts: list[Callable[[], object]] = []  # noqa: RUF012 - one for the process
    ending = threading.Lock()  # held by what ends the program: the message is said once


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Handle the signals for the time of a ``with`` statement; `message` is said if a second one ends the process.

    A signal that was ignored before, as by nohup, stays ignored. Does nothing outside the main thread, and inside
    another such statement.
    """
    if _State.is_handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_reports_kept())
        stack.enter_context(_listening())
        _State.is_handled, _State.message = True, message
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                stack.callback(signal.signal, number, signal.signal(number, _handle))
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the first signal until the end of a ``with`` statement; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with interruptible(_State.message):
        _State.delays += 1
        try:
            yield
        finally:
            _State.delays -= 1
            if not _State.delays and _State.first is not None and not _State.is_raised:
                _raise()


def say_at_end(message: str) -> None:
    """Have another message said if a signal ends the program: what has been kept, and how to go on."""
    _State.message = message


def last_message(otherwise: str) -> str:
    """Return what is to be said when a signal has ended the program; `otherwise` outside of `interruptible`.

    A second signal is ignored from here on, since the program ends. Does not return if one ends the process just now.
    """
    if not _State.is_handled:
        return otherwise
    _State.ending.acquire(timeout=10)
    return _State.message


@contextmanager
def at_once(act: Callable[[], object]) -> Iterator[None]:
    """Have something done also if a second signal ends the process during a ``with`` statement."""
    _State.last_acts.append(act)
    try:
        yield
    finally:
        _State.last_acts.remove(act)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Block Ctrl-C and SIGHUP in threads and processes that are started here: only the driver handles them.

    A terminal sends them to all processes of its group, and a worker that receives one ends with a traceback. Threads
    inherit the mask, and so do the processes that they start, also workers that replace a lost one.
    """
    with uninterrupted():  # a second signal ends the program nevertheless
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        # it unblocks Ctrl-C when it starts, so start it before (https://github.com/python/cpython/issues/127586)
        with _tracker_of_few_words():
            resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def was_interrupted() -> bool:
    """Return whether a signal was received that ends the program."""
    return _State.first is not None


def _handle(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if _State.first is not None:
        if now - _State.first > SAME_S[signal.Signals(number)]:
            _end_at_once()
        return
    _State.first = now
    _State.name = "" if number == signal.SIGINT else signal.Signals(number).name
    # other threads and libraries would report what they lose while the program ends
    sys.unraisablehook = threading.excepthook = _say_no_more
    logging.disable(logging.CRITICAL)
    if not _State.delays:
        _raise()


@contextmanager
def _listening() -> Iterator[None]:
    """Have a thread act on a second signal as it is received, for the time of a ``with`` statement."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(reader,), name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        listener.join()
        os.close(reader)


def _listen(reader: int) -> None:
    """End the process at once when a second signal is received; until the other end is closed."""
    while numbers := os.read(reader, 64):
        now = time.monotonic()
        for number in numbers:
            if number in SIGNALS and signal.getsignal(number) is _handle:
                if _State.received is None:
                    _State.received = now
                elif now - _State.received > SAME_S[signal.Signals(number)]:
                    _end_at_once()


def _raise() -> None:
    _State.is_raised = True
    raise KeyboardInterrupt(*([_State.name] if _State.name else []))


def _end_at_once() -> None:
    """Kill the child processes, do what was registered, and end this process, unless it says already that it ends."""
    import psutil

    if not _State.ending.acquire(blocking=False):
        return

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):  # Python's own, which removes semaphores and ends
                child.kill()
    for act in reversed(_State.last_acts):
        with suppress(Exception):
            act()
    _say(_State.message)
    os._exit(ExitCode.STOPPED)


def _say(message: str) -> None:
    with suppress(OSError):
        os.write(2, f"\n{message}\n".encode())


def _say_no_more(_: Any) -> None:
    """Report no exception of another thread, and none that could not be raised."""


@contextmanager
def _reports_kept() -> Iterator[None]:
    """Restore what `_handle` silences."""
    before = sys.unraisablehook, threading.excepthook, logging.root.manager.disable
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = before[:2]
        logging.disable(before[2])
        _State.is_handled, _State.first, _State.received = False, None, None
        _State.name, _State.is_raised, _State.ending = "", False, threading.Lock()


@contextmanager
def _tracker_of_few_words() -> Iterator[None]:
    """Keep Python's tracker of semaphores from telling, after a second Ctrl-C, which ones it removes."""
    before = os.environ.get("PYTHONWARNINGS")
    rule = "ignore:resource_tracker"
    os.environ["PYTHONWARNINGS"] = rule if before is None else f"{before},{rule}"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
