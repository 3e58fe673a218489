"""A real Slurm for tests: its daemons with four virtual nodes of four pretended GPUs each, private to one test session.

Everything lies in one temporary directory and listens on loopback ports that were free, so that sessions beside each
other, and a Slurm that the machine may have of its own, do not meet. Needs Debian's packages slurmctld, slurmd,
slurm-client and munge; nothing of them has to be configured or running.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4")
GPUS = 4
CORES = 8
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue")

_CONFIGURATION = """
ClusterName=tests
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={directory}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
KillWait=30
OverTimeLimit=0
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=60
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool.%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.%n.log
GresTypes=gpu
"""
_NODE = "NodeName={name} NodeHostname=localhost Port={port} CPUs={cores} RealMemory=16000 Gres=gpu:{gpus}\n"
_PARTITION = "PartitionName=batch Nodes=n[1-4] Default=YES MaxTime=01:00:00 DefaultTime=00:10:00 State=UP\n"


def missing() -> list[str]:
    """Return which of Slurm's programs are not on this machine."""
    return [name for name in _PROGRAMS if shutil.which(name, path=_search_path()) is None]


class Slurm:
    """A running Slurm; its client commands work in this process's environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return run("squeue", "--noheader", "--states=PD,R,CF,S", "--format=%A").split()

    def states(self) -> dict[str, str]:
        """Return the state of each job that Slurm remembers, such as RUNNING or CANCELLED, by its number."""
        lines = run("squeue", "--noheader", "--states=all", "--format=%A %T").splitlines()
        return dict(line.split() for line in lines)

    def cancel(self, *jobs: str) -> None:
        """Cancel jobs; all of them if none is named."""
        named = jobs or self.jobs()
        if named:
            run("scancel", *named)

    def is_empty(self) -> bool:
        """Return whether no job waits, runs or is ending."""
        return not run("squeue", "--noheader")


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """Start Slurm, and end it and all of its jobs whatever happens."""
    directory = Path(tempfile.mkdtemp(prefix="menndl-slurm-"))
    directory.chmod(0o755)
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(_restore, before)
        os.environ["SLURM_CONF"] = str(directory / "slurm.conf")
        os.environ["PATH"] = _search_path()
        _configure(directory)
        for command in _daemons(directory):
            stack.enter_context(_daemon(command, directory))
        slurm = Slurm(directory)
        until(lambda: _idle_nodes() == len(NODES), message=lambda: f"Slurm's nodes are not idle: {_logs(directory)}")
        stack.callback(_end_jobs, slurm)
        yield slurm


def run(*command: str) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def until(holds: Callable[[], object], seconds: float = 150.0, message: Callable[[], str] | str = "") -> None:
    """Wait until a condition holds; raises `TimeoutError` where it does not in time, also of a machine that is busy."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {seconds:g} s: {message if isinstance(message, str) else message()}")
        time.sleep(pause)
        pause = min(0.25, pause * 1.5)


def _configure(directory: Path) -> None:
    key = directory / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (directory / "state").mkdir()
    for number in range(GPUS):
        (directory / f"nvidia{number}").symlink_to("/dev/null")
    ports = _free_ports(len(NODES) + 1)
    user = run("id", "-un").strip()
    text = _CONFIGURATION.format(controller_port=ports.pop(), user=user, directory=directory)
    for name in NODES:
        (directory / f"spool.{name}").mkdir()
        text += _NODE.format(name=name, port=ports.pop(), cores=CORES, gpus=GPUS)
    (directory / "slurm.conf").write_text(text + _PARTITION)
    (directory / "gres.conf").write_text(f"NodeName=n[1-4] Name=gpu File={directory}/nvidia[0-{GPUS - 1}]\n")


def _daemons(directory: Path) -> list[list[str]]:
    munge = ["munged", "--foreground", f"--socket={directory}/munge.socket", f"--key-file={directory}/munge.key"]
    munge += [f"--pid-file={directory}/munged.pid", f"--log-file={directory}/munged.log"]
    munge += [f"--seed-file={directory}/munge.seed"]
    return [munge, ["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-c", "-N", name] for name in NODES)]


@contextmanager
def _daemon(command: list[str], directory: Path) -> Iterator[None]:
    with (directory / "daemons.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=_end_with_the_tests,  # noqa: PLW1509 - there are no threads here
        )  # fmt: skip
    try:
        if command[0] == "munged":
            until((directory / "munge.socket").exists, message=lambda: _logs(directory))
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_the_tests() -> None:
    """Have the kernel end a daemon when the tests are killed, in which case nobody else would."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end_jobs(slurm: Slurm) -> None:
    slurm.cancel()
    until(slurm.is_empty, message="jobs are left in the queue")


def _idle_nodes() -> int:
    answer = subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], capture_output=True, text=True, check=False)
    return sum(int(word) for word in answer.stdout.split())


def _logs(directory: Path) -> str:
    return "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(directory.glob("*.log")))


def _free_ports(count: int) -> list[int]:
    """Return ports that are free, and that the kernel gives to no other process before Slurm takes them."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            port = random.SystemRandom().randrange(min(10_000, first_given - 2000), first_given)
            bound = stack.enter_context(socket.socket())
            with suppress(OSError):
                bound.bind(("127.0.0.1", port))
                found.append(port)
    return found


def _search_path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
