"""What a user's loss may do to its process, for `tests.cheap_trainer`; each gets the request of the training."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def well_behaved(request: Any) -> float:
    """Return a fitness."""
    return 0.5


def flooding(request: Any) -> float:
    """Print 100 MB."""
    line = b"a warning of a framework that comes back for each sample\n" * 1000
    for descriptor in (1, 2):
        for _ in range(900):
            os.write(descriptor, line)
    print("and of a user", flush=True)  # noqa: T201
    return 0.5


def flooding_and_crashing(request: Any) -> float:
    """Print a lot without the end of a line, and crash."""
    for _ in range(100):
        os.write(2, b"\xff" * 100_000)
    os.write(2, b"\nthe last words\n")
    os.abort()


def daemons(request: Any) -> float:
    """Start processes that leave the group and the session of the training, ignore signals, or are stopped."""
    for number, how in enumerate((_daemon, _ignoring, _stopped)):
        ready = Path(request.save).with_name(f"started-{os.getpid()}-{number}")
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(os.dup(2))
                how(ready)
            os._exit(0)
        while not ready.exists():
            time.sleep(0.005)
    return 0.5


def daemons_for_ever(request: Any) -> float:
    """Start such processes, and train for ever."""
    daemons(request)
    time.sleep(600)
    return 0.5


def daemons_and_the_end_of_the_trainer(request: Any) -> float:
    """Start such processes, and kill the trainer."""
    daemons(request)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
    return 0.5


def _daemon(ready: Path) -> None:
    os.execlp("sh", "sh", "-c", f"echo $$ > {ready}.part; mv {ready}.part {ready}; sleep 600")


def _ignoring(ready: Path) -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    _tell(ready)
    time.sleep(600)


def _stopped(ready: Path) -> None:
    _tell(ready)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


def _tell(ready: Path) -> None:
    part = ready.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(ready)


def running_away(request: Any) -> float:
    """Start a process that starts another one and ends, again and again, and a tree of processes."""
    if os.fork() == 0:
        os.setsid()
        while os.fork() == 0:
            pass
        os._exit(0)
    for _ in range(4):
        os.fork()
    return 0.5


def forking_on(request: Any) -> float:
    """Go on in two processes."""
    os.fork()
    return 0.5


def sharing(request: Any) -> float:
    """Hold 100 MB that several processes share."""
    held = bytearray(b"x") * 100_000_000
    if all([os.fork() for _ in range(4)]):  # noqa: C419 - it is all four
        time.sleep(0.3)
        return len(held) / 200_000_000
    return float(threading.Event().wait())


def hoarding(request: Any) -> float:
    """Have another process hold 200 MB."""
    subprocess.run([sys.executable, "-c", "import time; held = b'x' * 200_000_000; time.sleep(600)"], check=True)
    return 0.5


def stopping(request: Any) -> float:
    """Stop."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0.5


def hanging_in_c(request: Any) -> float:
    """Hang with the interpreter's lock."""
    return float(ctypes.PyDLL(None).sleep(600))


def closing(request: Any) -> float:
    """Close the files that it may have open."""
    os.closerange(0, 256)
    return 0.5


def closing_everything(request: Any) -> float:
    """Close all files."""
    os.closerange(0, 1 << 12)
    return 0.5


def garbage(request: Any) -> float:
    """Write into each file that can be written to."""
    _write_to_pipes(os.urandom(4000))
    time.sleep(600)
    return 0.5


def a_length(request: Any) -> float:
    """Write the beginning of an endless frame into each file that can be written to."""
    _write_to_pipes(b"MNDL" + 4 * b"\0" + 8 * b"\xff" + bytes(1000))
    time.sleep(600)
    return 0.5


def _write_to_pipes(data: bytes) -> None:
    for name in Path("/proc/self/fd").iterdir():
        descriptor = int(name.name)
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                os.write(descriptor, data)
        except OSError:
            pass


def crashing(request: Any) -> float:
    """Read where there is no memory."""
    return float(len(ctypes.string_at(8)))


def too_deep(request: Any) -> float:
    """Call itself until the stack is full."""
    sys.setrecursionlimit(1 << 30)
    deep: Callable[[Any], Any] = lambda value: sorted([value, 1], key=lambda each: deep(value))  # noqa: E731
    return float(deep(1))


def exiting(request: Any) -> float:
    """End the process without a word."""
    os._exit(0)


def disturbing(request: Any) -> float:
    """Change all that belongs to a process, and return a fitness."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.umask(0)
    os.chdir("/")
    os.environ.clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    threading.Thread(target=time.sleep, args=(600,)).start()
    sys.stderr = sys.stdout = None  # type: ignore[assignment]
    return 0.5


def raising_what_cannot_be_shown(request: Any) -> float:
    """Raise an exception whose message cannot be made."""
    raise _Silent


class _Silent(BaseException):
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


def prepared(request: Any) -> float:
    """Check what protects others from the training; then leave its group and go on."""
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    assert os.umask(0) & 0o002
    assert sys.platform != "linux" or Path("/proc/self/oom_score_adj").read_text() == "1000\n"
    os.setpgid(0, os.getppid())
    threading.Thread(target=time.sleep, args=(600,)).start()
    return 0.5


def leaving(request: Any) -> float:
    """Leave as a program does, while a thread goes on."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    sys.exit(3)


def broken_pipe(request: Any) -> float:
    """Raise what would also come if the trainer were gone."""
    raise BrokenPipeError("of a user's own pipe")


def killing_the_trainer(request: Any) -> float:
    """Kill the trainer."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
    return 0.5


def killing_the_trainer_once(request: Any) -> float:
    """Kill the trainer, unless that was done before."""
    done = Path(request.save)
    if not done.exists():
        done.touch()
        killing_the_trainer(request)
    return 0.5


def stopping_the_trainer(request: Any) -> float:
    """Stop the trainer."""
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(600)
    return 0.5
