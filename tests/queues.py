"""Pretended batch systems: submit, cancel and list commands that run job scripts as processes of this machine."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

# name of the command: what it does, and how it prints a job's number
_COMMANDS = {
    "pbs": {"qsub": ("submit", "{}.server"), "qdel": ("cancel", ""), "qselect": ("list", "{}.server")},
    "moab": {"msub": ("submit", "{}"), "canceljob": ("cancel", ""), "qselect": ("list", "{}.server")},
    "lsf": {
        "bsub": ("submit", "Job <{}> is submitted to default queue <normal>."), "bkill": ("cancel", ""),
        "bjobs": ("list", "{}"),
    },
    "sge": {
        "qsub": ("submit", 'Your job {} ("menndl") has been submitted'), "qdel": ("cancel", ""),
        "qstat": ("list", " {} 0.5"),
    },
    "oar": {"oarsub": ("submit", "OAR_JOB_ID={}"), "oardel": ("cancel", ""), "oarstat": ("list", "{}  menndl")},
    "htcondor": {
        "condor_submit": ("submit", "1 job(s) submitted to cluster {}."), "condor_rm": ("cancel", ""),
        "condor_q": ("list", "{}.0"),
    },
}  # fmt: skip

_PROGRAM = '''#!{python}
import os, pathlib, re, signal, subprocess, sys

jobs = pathlib.Path("{jobs}")
what, form, kind = {what!r}, {form!r}, {kind!r}
number = lambda word: re.match(r"\\d+", word).group()

def is_alive(file):
    try:
        return pathlib.Path("/proc", file.read_text(), "stat").read_text().split()[2] != "Z"
    except OSError:
        return False

with (jobs / "log").open("a") as log:
    log.write(" ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]).replace("\\n", ";") + "\\n")
if (jobs / "refuse").exists() and what == "submit":
    sys.exit("qsub: Unknown queue")
if what == "submit":
    files = [word for word in sys.argv[1:] if pathlib.Path(word).is_file()]
    if kind == "oar":
        script = sys.argv[-1]
    else:
        script = pathlib.Path(files[-1]).read_text() if files else sys.stdin.read()
    if kind == "htcondor":
        script = re.search(r'^Arguments = "-c \\'(.*)\\'"$', script, re.M).group(1)
        script = script.replace("\\'\\'", "\\'").replace('""', '"')
    new = str(len(list(jobs.glob("*.job"))) + 101)
    before = re.search(r"(?:afterany:|ended.|-hold_jid |-a )([0-9]+)", " ".join(sys.argv[1:-1]))
    if before:  # waits for the end of another job
        leader = (jobs / (before.group(1) + ".job")).read_text()
        script = "while kill -0 " + leader + " 2> /dev/null; do sleep 0.1; done; " + script
    if (jobs / "busy").exists():
        script = "sleep 600"
    with (jobs / (new + ".out")).open("wb") as out:
        os.environ["PBS_JOBID"] = new + ".server"
        streams = dict(stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        process = subprocess.Popen(["bash", "-c", script], start_new_session=True, **streams)
    (jobs / (new + ".job")).write_text(str(process.pid))
    print(form.format(new))
elif what == "cancel":
    for word in sys.argv[1:]:
        try:
            os.killpg(int((jobs / (number(word) + ".job")).read_text()), signal.SIGTERM)
        except OSError:
            sys.exit("unknown job " + word)
else:
    alive = [file.stem for file in sorted(jobs.glob("*.job")) if is_alive(file)]
    if kind == "lsf" and not alive:
        sys.exit("No unfinished job found")
    for name in alive:
        print(form.format(name))
'''


class Queue:
    """A pretended batch system; its commands are found once `path` is in front of the PATH."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.path = directory / "bin"
        self._jobs = directory / "jobs"
        for folder in (self.path, self._jobs):
            folder.mkdir()
        for name, (what, form) in _COMMANDS[kind].items():
            program = self.path / name
            program.write_text(_PROGRAM.format(python=sys.executable, jobs=self._jobs, what=what, form=form, kind=kind))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def log(self) -> list[str]:
        """The commands so far, with their arguments."""
        file = self._jobs / "log"
        return file.read_text().splitlines() if file.exists() else []

    def commands(self) -> list[str]:
        """Return the names of the commands so far."""
        return [line.split()[0] for line in self.log]

    def refuse(self) -> None:
        """Refuse whatever is submitted from now on."""
        (self._jobs / "refuse").touch()

    def be_busy(self) -> None:
        """Let whatever is submitted from now on wait."""
        (self._jobs / "busy").touch()

    def alive(self) -> list[int]:
        """Return the numbers of the processes of the jobs that run."""
        numbers = [int(file.read_text()) for file in sorted(self._jobs.glob("*.job"))]
        return [number for number in numbers if _runs(number)]

    def printed(self) -> str:
        """Return what the jobs have printed."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self._jobs.glob("*.out")))

    def end(self) -> None:
        """End all jobs, whatever they do."""
        for number in self.alive():
            os.killpg(number, 9)


def _runs(number: int) -> bool:
    try:
        return Path("/proc", str(number), "stat").read_text().split()[2] != "Z"
    except OSError:
        return False
