"""Thousands of damaged inputs in one process, and the table of what came of them. Runs a campaign from a shell.

``python -m tests.fuzz.campaign --inputs 20000`` prints a table: for each kind the inputs, how many were refused in one
line, how many were accepted, and what must not be: tracebacks (also those that a command tells in a line as an
unexpected error), refusals of several lines, inputs that took longer than 10 s of the processor, files that a command
changed though it only reads, processes that died.

Each input is made from a seed of its own: ``--kind Zarr --first 17 --inputs 1`` repeats one.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.fuzz.inputs import KINDS, Kind

LONGEST_S = 10  # of processor time; a machine with other work makes anything slow
_WAITED_S = 60  # of wall time, if it waits
_DEAD_S = 120  # in C code no signal is handled
_MEMORY = 6 * 2**30
_MANY = 1000  # inputs of a process: what it imports takes longer than most inputs
_WRITERS = (
    *("report", "stop", "resume", "retrain", "search", "convert", "predict", "doctor"),
    *("export", "watch", "profile", "benchmark"),
)
OUTCOMES = ("refused", "accepted", "traceback", "lines", "slow", "changed", "died")


class TooLongError(BaseException):
    """An input took too long."""


class StopsHereError(Exception):
    """What a command would do next takes workers or Keras."""


def run_input(one: Kind, number: int, template: Path, place: Path) -> dict[str, Any]:
    """Damage a copy of the valid files, run the commands, and return the outcome."""
    rng = np.random.default_rng([zlib.crc32(one.name.encode()), number])
    folder = place / "work"
    _remove(folder)
    shutil.copytree(template, folder, symlinks=True, copy_function=_copy)
    os.chdir(folder)
    try:
        commands = one.damage(rng)
        started = time.process_time()
        outcome = {"outcome": "accepted", "detail": ""}
        for command in commands:
            before = _snapshot(folder) if _only_reads(command) else None
            outcome = run_command(command)
            if before is not None and outcome["outcome"] in ("refused", "accepted") and before != _snapshot(folder):
                outcome = {"outcome": "changed", "detail": str(command)}
        return {"kind": one.name, "number": number, "seconds": time.process_time() - started, **outcome}
    finally:
        os.chdir(place)


def _copy(source: str, target: str) -> None:
    with suppress(PermissionError):
        if Path(source).is_file():
            shutil.copy2(source, target)
        else:
            os.mkfifo(target)


def _only_reads(command: Sequence[str] | Callable[[], object]) -> bool:
    return not callable(command) and not (len(command) == 0 or command[0] in _WRITERS)


def _snapshot(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        is_small = path.is_file() and not path.is_symlink() and path.stat().st_size < 10**6
        found[str(path)] = path.read_bytes() if is_small and os.access(path, os.R_OK) else b""
    return found


def run_command(command: Sequence[str] | Callable[[], object]) -> dict[str, str]:
    """Run a command line, or a function as a script would call it, and return the outcome and its detail."""
    from menndl_dask.cli.cli import main
    from menndl_dask.errors import MenndlError
    from menndl_dask.program import guard

    seen: list[str] = []

    def unexpected(error: Exception) -> str:
        seen.append(_signature(error))
        return "unexpected"

    began = time.process_time(), time.monotonic()

    def alarm(number: int, frame: FrameType | None) -> None:
        if time.process_time() - began[0] > LONGEST_S - 1 or time.monotonic() - began[1] > _WAITED_S:
            raise TooLongError("".join(traceback.format_stack(frame, 6)))
        signal.alarm(LONGEST_S)

    # bytes that are not UTF-8 must not fail here, as they do not on a terminal
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict") for _ in range(2))
    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(LONGEST_S)
    try:
        with redirect_stdout(out), redirect_stderr(err), patch.object(guard, "unexpected", unexpected):
            if callable(command):
                try:
                    command()
                    status = 0
                except MenndlError as error:
                    status = 2
                    print(error, file=sys.stderr)  # noqa: T201
            else:
                status = main(list(command))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 2
    except TooLongError as error:
        return {"outcome": "slow", "detail": f"{command}: {error}"[:3000]}
    except Exception as error:  # noqa: BLE001
        seen.append(_signature(error))
        status = -1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    err.flush()
    lines = err.buffer.getvalue().decode(errors="replace").splitlines()  # type: ignore[attr-defined]
    lines = [line for line in lines if not line.startswith("planning: ")]  # what is going on, not an error
    if seen:
        return {"outcome": "traceback", "detail": seen[0]}
    if any("Traceback" in line for line in lines):
        return {"outcome": "traceback", "detail": "\n".join(lines)[-3000:]}
    if status not in (0, 1) and (len(lines) != 1 or len(lines[0]) > 500):
        return {"outcome": "lines", "detail": f"{str(command)[:300]}: {len(lines)} lines: " + "\n".join(lines)[:1500]}
    return {"outcome": "accepted" if status in (0, 1) else "refused", "detail": "\n".join(lines)[:600]}


def _signature(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/menndl_dask/" in f.filename]
    places = [f"{f.filename.rpartition('/menndl_dask/')[2]}:{f.lineno} {f.name}" for f in own[-3:]]
    last = frames[-1] if frames else None
    end = "" if last is None else f" at {Path(last.filename).name}:{last.lineno}"
    try:
        text = str(error)[:150]
    except Exception:  # noqa: BLE001
        text = "?"
    return f"{type(error).__name__} {' < '.join(reversed(places))}{end}: {text}"


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def without_workers() -> Iterator[None]:
    """Let commands stop where they would start workers, or a process with Keras."""
    from menndl_dask.cli import cli, planning
    from menndl_dask.errors import ProfileError, TrainerError, UserError
    from menndl_dask.prediction.network import ModelDescription

    def refuse(*arguments: object, **options: object) -> None:
        raise ProfileError("stops where workers would be started")

    def stop(*arguments: object, **options: object) -> None:
        raise UserError("stops where images would be predicted")

    def no_process(*arguments: object, **options: object) -> None:
        raise TrainerError("no process with Keras")

    @contextmanager
    def client() -> Iterator[None]:
        yield None

    @contextmanager
    def cluster(*arguments: object, **options: object) -> Iterator[Any]:
        yield SimpleNamespace(client=client)

    plan = planning.plan_search
    described = ModelDescription(("image",), ((None, None, 1),), (None, None, 2), "softmax")
    changes = {
        "menndl_dask.cli.cli._parser": cache(cli._parser),
        "menndl_dask.workflow.load_cluster": refuse,
        "menndl_dask.search.comparison.Dispatcher": refuse,
        "menndl_dask.performance.profile.profile": refuse,
        "menndl_dask.prediction.export.ChildProcess": no_process,
        "menndl_dask.performance.benchmark.load_cluster": refuse,
        "menndl_dask.performance.forecast.load_cluster": refuse,
        "menndl_dask.cluster.cluster.load_cluster": cluster,
        "menndl_dask.cluster.check.check_profile": refuse,
        "menndl_dask.cli.planning.plan_search": lambda *args, **options: plan(*args, **{**options, "trial": False}),
        "menndl_dask.data.keras_names._ask": lambda command, backend: None,
        "menndl_dask.search.initial_networks.ChildProcess": no_process,
        "menndl_dask.prediction.prediction.describe": lambda spec: described,
        "menndl_dask.prediction.plan.describe": lambda spec: described,
        "menndl_dask.prediction.prediction._predict": stop,
        "menndl_dask.prediction.prediction._check_files": lambda model, target: None,
        "menndl_dask.search.islands.supervisor.supervise": refuse,
    }
    from contextlib import ExitStack

    import menndl_dask.cluster.check
    import menndl_dask.prediction.prediction  # noqa: F401

    with ExitStack() as stack:
        for name, change in changes.items():
            stack.enter_context(patch(name, change))
        yield


def prepare(one: Kind, place: Path) -> Path:
    """Write the valid files of a kind, and return their folder."""
    folder = place / "templates" / one.prepare.__name__
    if not folder.exists():
        folder.mkdir(parents=True)
        before = Path.cwd()
        os.chdir(folder)
        try:
            one.prepare()
        finally:
            os.chdir(before)
    return folder


def _child(one: Kind, numbers: Sequence[int], template: Path, place: Path, log: Path) -> None:
    """Run inputs, and append each outcome to the log."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what libraries write past Python
        os.dup2(null, number)
    with without_workers(), log.open("a") as file:
        for number in numbers:
            file.write(f"{number}\n")
            file.flush()
            found = run_input(one, number, template, place)
            file.write(json.dumps(found) + "\n")
            file.flush()


def run_kind(one: Kind, first: int, count: int, place: Path, *, is_repeated: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each input; they run in processes that are ended when they hang.

    One that took too long is run again, alone: what counts is that, since a busy machine makes anything slow.
    """
    template = prepare(one, place)
    log = place / "log"
    numbers = list(range(first, first + count))
    while numbers:
        log.write_text("")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _child(one, numbers[:_MANY], template, place, log)
                status = 0
            except BaseException:  # noqa: BLE001
                with Path(place / "broken").open("w") as file:
                    traceback.print_exc(file=file)
            os._exit(status)
        ended, size, since = 0, -1, time.monotonic()
        while not ended:
            ended, _status = os.waitpid(child, os.WNOHANG)
            now = log.stat().st_size
            if now != size:
                size, since = now, time.monotonic()
            elif not ended and time.monotonic() - since > _DEAD_S:
                os.kill(child, signal.SIGKILL)
            if not ended:
                time.sleep(0.02)
        hung = time.monotonic() - since > _DEAD_S
        lines = log.read_text().splitlines()
        done = [json.loads(line) for line in lines if line.startswith("{")]
        for each in done:
            repeat = each["outcome"] == "slow" and not is_repeated
            yield from run_kind(one, each["number"], 1, place, is_repeated=True) if repeat else [each]
        numbers = numbers[len(done) :]
        begun = [int(line) for line in lines if not line.startswith("{")]
        if len(begun) > len(done):
            if hung and not is_repeated:
                yield from run_kind(one, numbers[0], 1, place, is_repeated=True)
                numbers = numbers[1:]
                continue
            outcome = "slow" if hung else "died"
            detail = (place / "broken").read_text()[-2000:] if (place / "broken").exists() else f"status {_status}"
            seconds = _DEAD_S if hung else 0
            yield {"kind": one.name, "number": numbers[0], "seconds": seconds, "outcome": outcome, "detail": detail}
            numbers = numbers[1:]
            (place / "broken").unlink(missing_ok=True)


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of a campaign in Markdown."""
    head = ("kind of input", "inputs", "refused in one line", "accepted", "tracebacks", "of several lines", "over 10 s",
            "changed", "died", "longest (s)")  # fmt: skip
    rows = [head, ("---",) * len(head)]
    for name in [*dict.fromkeys(each["kind"] for each in found), "all"]:
        own = [each for each in found if name in (each["kind"], "all")]
        counts = Counter(each["outcome"] for each in own)
        numbers = (f"{counts[outcome]:,}" for outcome in OUTCOMES)
        rows.append((name, f"{len(own):,}", *numbers, f"{max(each['seconds'] for each in own):.1f}"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Run a campaign, and print what must not be and the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="of all kinds together")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--place", type=Path, help="folder for the files (default: a temporary one in memory)")
    parser.add_argument("--json", type=Path, help="file to append every outcome to")
    given = parser.parse_args()
    kinds = [KINDS[name] for name in given.kind or KINDS]
    whole = sum(one.share for one in kinds)
    found: list[dict[str, Any]] = []
    import menndl_dask.cli.cli
    import menndl_dask.data.check.check
    import menndl_dask.data.formats.conversion  # noqa: F401

    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=where, ignore_cleanup_errors=True) as temporary:
        place = given.place or Path(temporary)
        os.environ |= {"XDG_STATE_HOME": str(place / "state"), "MPLBACKEND": "Agg"}
        for one in kinds:
            began = time.monotonic()
            own = list(run_kind(one, given.first, max(1, round(given.inputs * one.share / whole)), place))
            found += own
            if given.json:
                with given.json.open("a") as file:
                    file.writelines(json.dumps(each) + "\n" for each in own)
            _tell(one, own, time.monotonic() - began)
    print(f"\n{platform.node()}, Python {platform.python_version()}\n\n{table(found)}")  # noqa: T201
    return int(any(each["outcome"] not in ("refused", "accepted") for each in found))


def _tell(one: Kind, found: Sequence[dict[str, Any]], seconds: float) -> None:
    wrong = defaultdict(list)
    for each in found:
        if each["outcome"] not in ("refused", "accepted"):
            detail = each["detail"].partition(": ")[0] if each["outcome"] == "traceback" else each["detail"]
            wrong[(each["outcome"], detail)].append(each)
    print(f"{one.name}: {len(found)} inputs in {seconds:.0f} s", flush=True)  # noqa: T201
    for (outcome, _), each in sorted(wrong.items(), key=lambda pair: -len(pair[1])):
        print(f"  {outcome} × {len(each)}, such as {each[0]['number']}: {each[0]['detail']}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
