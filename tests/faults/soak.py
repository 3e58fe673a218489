"""Searches under many random faults: ``python -m tests.faults.soak --faults 200``.

The searches come in turns: with workers of their own, with a scheduler and workers beside the driver, and with real
trainings. In each a fault follows the other, mostly once the crew is whole again, sometimes before. The same seed gives
the same faults in the same order; what they meet differs with the time that everything takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from tests.faults.checker import State, check
from tests.faults.scene import Scene, end_on_signals, send

RUSHED = 0.2  # share of the faults that do not wait until the crew is whole again
HELD_S = (0.5, 6.0)
STEPS_S = (-86_400, -3_600, 0, 3_600, 86_400)
PATIENCE_S = 180.0
ORPHANED_S = 30.0  # a process that lives for so long after its driver is an orphan


@dataclass(slots=True)
class Faulted:
    """A fault and what came of it."""

    kind: str
    # seconds until all workers had begun another evaluation; None if the next fault came first, or the search ended
    restored_s: float | None = None
    trouble: str = ""  # hung, short of workers, or an end that was not to be


@dataclass(slots=True)
class Tally:
    """What is counted over all searches of a soak."""

    faults: list[Faulted] = field(default_factory=list)
    searches: int = 0
    asked: int = 0
    recorded: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated: int = 0
    orphans: int = 0
    blamed: int = 0  # networks that failed though only their worker, driver or scheduler was struck

    @property
    def hung(self) -> int:
        """Number of faults after which a search stood still."""
        return sum(fault.trouble == "hung" for fault in self.faults)

    @property
    def troubles(self) -> list[str]:
        """What went wrong, in words."""
        words = [f"{fault.kind}: {fault.trouble}" for fault in self.faults if fault.trouble]
        counts = {"lost": self.lost, "duplicated": self.duplicated, "repeated": self.repeated, "orphans": self.orphans}
        counts |= {"blamed": self.blamed}
        return words + [f"{count} {what}" for what, count in counts.items() if count]

    def restored(self, kind: str | None = None) -> list[float]:
        """Return the seconds until the crew was whole, of all faults or of a kind."""
        return [f.restored_s for f in self.faults if f.restored_s is not None and kind in (None, f.kind)]


class Turn:
    """One search, and the faults that meet it."""

    ends = (0, 2)  # exit codes of a driver whose scheduler was killed

    def __init__(self, scene: Scene, rng: random.Random, tally: Tally) -> None:
        self.scene = scene
        self._rng = rng
        self.tally = tally
        self.states: list[State] = []
        self.kinds = {**ANYWHERE, **(OWN if scene.is_local else BESIDE)}
        if "data" in scene.settings:
            self.kinds = {**TRAINING}

    def run(self, faults: int) -> None:
        """Search to the end, with up to so many faults on the way."""
        scene = self.scene
        scene.start_all()
        scene.wait_for_crew(0.0, 2 * PATIENCE_S)
        for _ in range(faults):
            self.states.append(State.of(scene.run))
            if scene.told() > scene.evaluations - 8 * scene.workers:
                break
            self._strike()
        self._finish()
        self.tally_up()
        self.tally.orphans += len(scene.wait_until_alone(ORPHANED_S))

    def tally_up(self) -> None:
        """Check the run's journal, and add what was found."""
        scene, tally = self.scene, self.tally
        verdict = check(scene.run, scene.evaluations, self.states, scene.marks())
        tally.searches += 1
        tally.asked += verdict.asked
        tally.recorded += verdict.recorded
        tally.lost += len(verdict.lost)
        tally.duplicated += len(verdict.duplicated)
        tally.repeated += len(verdict.repeated)
        if "data" not in scene.settings:  # else a training is struck
            tally.blamed += sum(failure not in (None, "no_learning") for failure in verdict.failures)

    def _strike(self) -> None:
        kind = self._rng.choice(list(self.kinds))
        is_rushed, pause = self._rng.random() < RUSHED, self._rng.uniform(0.0, 1.5)
        fault = Faulted(kind)
        self.tally.faults.append(fault)
        try:
            since = self.kinds[kind](self, random.Random(self._rng.random()))
        except AssertionError as error:
            is_hung = self.scene.driver.poll() is None
            fault.trouble = "hung" if is_hung else str(error).partition("\n")[0]
            self.scene.end()
            self.scene.start_all()
            return
        if not is_rushed:
            self._wait_for_crew(fault, since)
        time.sleep(pause)

    def _wait_for_crew(self, fault: Faulted, since: float) -> None:
        """Wait until all workers evaluate again; a driver that ended although it had no reason is started again."""
        scene, told, deadline = self.scene, self.scene.told(), time.monotonic() + PATIENCE_S
        while (reached := scene.crew_since(since)) is None:
            if scene.driver.poll() is not None:
                if scene.driver.returncode != 0:
                    fault.trouble = f"the driver ended with {scene.driver.returncode}"
                    scene.start_driver()
                return
            if time.monotonic() > deadline:
                fault.trouble = "hung" if scene.told() == told else "the crew is not whole"
                self.kill_driver()
                return
            time.sleep(0.05)
        fault.restored_s = reached

    def _finish(self) -> None:
        """Let the search come to its end; what ends early is started again, a few times."""
        for _ in range(4):
            try:
                if self.scene.wait_for_end(PATIENCE_S + self.scene.evaluations) == 0:
                    return
            except AssertionError:
                self.tally.faults[-1].trouble = "hung"
                self.kill_driver(is_again=False)
            self.scene.end()
            self.scene.start_all()

    # --- faults: each returns the moment from which the crew must come back -------------------------------------------

    def kill_driver(self, rng: random.Random | None = None, is_again: bool = True) -> float:
        """Kill the driver, and type the same command again."""
        self.scene.driver.kill()
        since = time.monotonic()
        left = self.scene.wait_until_alone(ORPHANED_S)
        self.tally.orphans += len(left)
        if is_again:
            self.scene.start_driver()
        return since

    def interrupt_driver(self, rng: random.Random) -> float:
        """End the driver as batch systems do, and type the same command again."""
        self.scene.driver.send_signal(signal.SIGTERM)
        since = time.monotonic()
        status = self.scene.wait_for_end()
        early = -signal.SIGTERM  # while Python itself was still starting
        assert status in (0, 130, early), f"the driver ended with {status}"
        self.scene.start_driver()
        return since

    def hold_driver(self, rng: random.Random) -> float:
        """Stop the driver for some seconds."""
        return _hold([self.scene.driver.pid], rng)

    def second_driver(self, rng: random.Random) -> float:
        """Start another driver of the same run, also without the lock's file; it must be refused."""
        scene, first = self.scene, self.scene.driver
        if rng.random() < 0.5:
            (scene.run / ".lock").unlink(missing_ok=True)
        second = scene.start_driver("second")
        scene.driver = first
        scene.wait(lambda: second.poll() is not None, what="the second driver had ended")
        assert second.returncode == 2 or first.poll() == 0, f"the second driver ended with {second.returncode}"
        return time.monotonic()

    def step_clock(self, rng: random.Random) -> float:
        """Set the clock of the driver, by hours or a day, forward or back."""
        Path(self.scene.settings["clock"]).write_text(str(rng.choice(STEPS_S)))
        return time.monotonic()

    def kill_worker(self, rng: random.Random) -> float:
        """Kill a worker; its nanny lives."""
        return _kill([rng.choice(self.scene.worker_processes() or [0])])

    def kill_all_workers(self, rng: random.Random) -> float:
        """Kill all workers at once."""
        return _kill(self.scene.worker_processes())

    def hold_worker(self, rng: random.Random) -> float:
        """Stop a worker for some seconds."""
        return _hold([rng.choice(self.scene.worker_processes() or [0])], rng)

    def kill_nanny(self, rng: random.Random) -> float:
        """Kill a worker with its nanny; another one is started, as by a batch system."""
        return self._replace_worker(rng, signal.SIGKILL)

    def replace_worker(self, rng: random.Random) -> float:
        """Let a worker leave in order, and another one join."""
        return self._replace_worker(rng, signal.SIGTERM)

    def hold_nanny(self, rng: random.Random) -> float:
        """Stop a nanny for some seconds."""
        return _hold([rng.choice(self._nannies()).pid], rng)

    def kill_scheduler(self, rng: random.Random) -> float:
        """Kill the scheduler; the driver ends in a line, and all is started again."""
        assert self.scene.scheduler is not None
        self.scene.scheduler.kill()
        since = time.monotonic()
        status = self.scene.wait_for_end()
        self.scene.end()
        self.scene.start_all()
        assert status in self.ends, f"the driver ended with {status}"
        return since

    def hold_scheduler(self, rng: random.Random) -> float:
        """Stop the scheduler for some seconds."""
        assert self.scene.scheduler is not None
        return _hold([self.scene.scheduler.pid], rng)

    def kill_trainer(self, rng: random.Random) -> float:
        """Kill a trainer, and with it what it trains."""
        return _kill([rng.choice(self.scene.trainers() or [0])])

    def kill_training(self, rng: random.Random) -> float:
        """Kill a training."""
        return _kill([rng.choice(self.scene.trainings() or [0])])

    def hold_training(self, rng: random.Random) -> float:
        """Stop a training for some seconds."""
        return _hold([rng.choice(self.scene.trainings() or [0])], rng)

    def hold_trainer(self, rng: random.Random) -> float:
        """Stop a trainer for some seconds."""
        return _hold([rng.choice(self.scene.trainers() or [0])], rng)

    def _replace_worker(self, rng: random.Random, number: int) -> float:
        nanny = rng.choice(self._nannies())
        nanny.send_signal(number)
        self.scene.start_worker()
        return time.monotonic()

    def _nannies(self) -> list:
        living = [nanny for nanny in self.scene.nannies if nanny.poll() is None]
        while len(living) < self.scene.workers:  # as a batch system does when a job has ended
            living.append(self.scene.start_worker())
        return living


Strike = Callable[[Turn, random.Random], float]
ANYWHERE: dict[str, Strike] = {
    "driver killed": Turn.kill_driver,
    "driver interrupted": Turn.interrupt_driver,
    "driver stopped, continued": Turn.hold_driver,
    "worker killed": Turn.kill_worker,
    "all workers killed": Turn.kill_all_workers,
    "worker stopped, continued": Turn.hold_worker,
    "second driver": Turn.second_driver,
}
OWN: dict[str, Strike] = {"clock stepped": Turn.step_clock}
BESIDE: dict[str, Strike] = {
    "nanny killed": Turn.kill_nanny,
    "nanny stopped, continued": Turn.hold_nanny,
    "worker left, another joined": Turn.replace_worker,
    "scheduler killed": Turn.kill_scheduler,
    "scheduler stopped, continued": Turn.hold_scheduler,
}
TRAINING: dict[str, Strike] = {
    "trainer killed": Turn.kill_trainer,
    "training killed": Turn.kill_training,
    "trainer stopped, continued": Turn.hold_trainer,
    "training stopped, continued": Turn.hold_training,
    "worker killed in a training": Turn.kill_worker,
    "driver killed in trainings": Turn.kill_driver,
}


def _kill(pids: Sequence[int]) -> float:
    for pid in pids:
        if pid > 0:
            send(pid, signal.SIGKILL)
    return time.monotonic()


def _hold(pids: Sequence[int], rng: random.Random) -> float:
    held = [pid for pid in pids if pid > 0]
    for pid in held:
        send(pid, signal.SIGSTOP)
    time.sleep(rng.uniform(*HELD_S) if held else 0.0)
    for pid in held:
        send(pid, signal.SIGCONT)
    return time.monotonic()


def soak(folder: Path, seed: int, faults: int, evaluations: int, *, trainings: bool = True) -> Iterator[Tally]:
    """Yield what was counted, after each search, until there were so many faults and evaluations."""
    rng, tally = random.Random(seed), Tally()
    while len(tally.faults) < faults or tally.asked < evaluations:
        left = max(1, faults - len(tally.faults))
        own = folder / str(tally.searches)
        own.mkdir(parents=True)
        with _scene(own, tally.searches, trainings) as scene:
            Turn(scene, rng, tally).run(left)
        yield tally


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of what was counted in several soaks."""
    total = Tally()
    for tally in tallies:
        for one in fields(Tally):
            setattr(total, one.name, getattr(total, one.name) + getattr(tally, one.name))
    return total


def _scene(folder: Path, number: int, trainings: bool) -> Scene:
    (folder / "clock").write_text("0")
    if trainings and number % 6 == 2:
        data = str(_data(folder / "data.zarr"))
        return Scene(folder, evaluations=30, settings={"data": data, "limit_s": 60.0})
    is_local = number % 2 == 0
    settings = {"clock": str(folder / "clock")} if is_local else {"answer_s": 10.0}
    return Scene(folder, evaluations=400, seconds=0.25, workers=2, is_local=is_local, settings=settings)


def _data(path: Path) -> Path:
    from tests.stores import classification, write

    return write(classification(), path)


def main() -> int:
    """Soak, print the table, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--no-trainings", action="store_true")
    parser.add_argument("--json", type=Path, help="file for all figures")
    given = parser.parse_args()
    end_on_signals()
    again = f"To repeat this run: make faults SEED={given.seed} FAULTS={given.faults}"
    print(again, flush=True)  # noqa: T201
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        for tally in soak(Path(folder), given.seed, given.faults, given.evaluations, trainings=not given.no_trainings):
            print(line(tally), flush=True)  # noqa: T201
            if given.json is not None:
                given.json.write_text(json.dumps(asdict(tally)))
    print("\n".join([*kinds_table(tally), "", *tally.troubles, again]))  # noqa: T201
    return 1 if tally.troubles else 0


def line(tally: Tally) -> str:
    """Return the counts in a line, with the load of the machine now."""
    return f"{summary(tally)}; blamed {tally.blamed}; load {os.getloadavg()[0]:.1f}"


def summary(tally: Tally) -> str:
    """Return the counts in a line."""
    restored = tally.restored()
    back = f"{np.median(restored):.1f} s (p95 {np.quantile(restored, 0.95):.1f} s)" if restored else "-"
    return (
        f"{len(tally.faults)} faults, {tally.recorded} of {tally.asked} evaluations in {tally.searches} searches: "
        f"lost {tally.lost}, duplicated {tally.duplicated}, repeated {tally.repeated}, hung {tally.hung}, "
        f"orphans {tally.orphans}, capacity restored in {back}"
    )


def kinds_table(tally: Tally) -> list[str]:
    """Return a table of the kinds of faults in Markdown."""
    rows = [
        "| fault | times | hung | other trouble | restored, p50 | p95 | longest |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in {**ANYWHERE, **OWN, **BESIDE, **TRAINING}:
        of_kind = [fault for fault in tally.faults if fault.kind == kind]
        if of_kind:
            hung = sum(fault.trouble == "hung" for fault in of_kind)
            other = sum(bool(fault.trouble) for fault in of_kind) - hung
            rows.append(f"| {kind} | {len(of_kind)} | {hung} | {other} | {quantiles(tally.restored(kind))} |")
    return rows


def quantiles(seconds: Sequence[float]) -> str:
    """Return three cells: median, 95th percentile and largest of some seconds."""
    if not seconds:
        return "– | – | –"
    return " | ".join(f"{value:.1f} s" for value in (np.median(seconds), np.quantile(seconds, 0.95), max(seconds)))


if __name__ == "__main__":
    sys.exit(main())
