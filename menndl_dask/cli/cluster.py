"""The commands ``menndl cluster check | script | schema``, ``status`` and ``stop``. Runs on the driver."""

from __future__ import annotations

import argparse
import getpass
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import add_command, add_run_command
from menndl_dask.errors import ExitCode, ProfileError, RunError
from menndl_dask.terminal import say

if TYPE_CHECKING:
    from menndl_dask.cluster.profile import Profile


def add_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    cluster = add_command(commands, "cluster", None, "check a cluster profile before a search uses it")
    actions = cluster.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = add_command(actions, "check", _check, "show the job script of a profile; --try inspects its workers")
    check.add_argument("--try", action="store_true", dest="is_tried", help="start one job and inspect its workers")
    text = "seconds to wait for a worker (default: 600)"
    check.add_argument("--wait", type=float, default=600.0, metavar="S", help=text)
    script = add_command(actions, "script", _script, "print the job script of a profile, and nothing else")
    for each in (check, script):
        each.add_argument("profile", help="a YAML file, or the name of a profile that is shipped")
    add_command(actions, "schema", _schema, "print the JSON schema of profiles, for editors")
    text = "show the progress of a run, its driver, and the last events"
    found = add_run_command(commands, "status", _status, text)
    found.add_argument("--json", action="store_true", dest="is_json", help="as JSON, for programs")
    text = "stop a run once its running evaluations are finished; the command of the search continues it"
    add_run_command(commands, "stop", _stop, text)


def _check(given: argparse.Namespace) -> int:
    from menndl_dask.cluster.batch.site import Site
    from menndl_dask.cluster.check import check_profile, describe
    from menndl_dask.cluster.profile import read_profile

    profile = read_profile(given.profile)
    is_filled_in = _show(profile)
    if not given.is_tried:
        what = "starts one job and inspects its workers" if isinstance(profile, Site) else "inspects them"
        say(f"nothing was started; --try {what}")
        return ExitCode.SUCCESS if is_filled_in else ExitCode.PROBLEM_FOUND
    say(f"starting the workers of {given.profile} …")
    text, is_good = describe(profile, check_profile(profile, given.wait))
    say(text)
    return ExitCode.SUCCESS if is_good else ExitCode.PROBLEM_FOUND


def _show(profile: Profile) -> bool:
    """Print what a profile starts; return whether it is complete."""
    from menndl_dask.cluster.local_workers import LocalWorkers
    from menndl_dask.cluster.profile import Local, Scheduler

    if isinstance(profile, Local):
        say(f"on this machine: {LocalWorkers(profile).text()}")
        return True
    if isinstance(profile, Scheduler):
        say(f"the workers of the scheduler at {profile.address or profile.scheduler_file}")
        return True
    from menndl_dask.cluster.batch.site_cluster import job_script, remarks, unfilled_keys

    say(job_script(profile))
    for line in remarks(profile):
        say(line)
    left = unfilled_keys(profile)
    for key, text in left:
        say(f"to be filled in, in a copy of the profile: {key}: {text}")
    return not left


def _script(given: argparse.Namespace) -> int:
    from menndl_dask.cluster.batch.site import Site
    from menndl_dask.cluster.batch.site_cluster import job_script  # loads dask-jobqueue
    from menndl_dask.cluster.profile import read_profile

    profile = read_profile(given.profile)
    if not isinstance(profile, Site):
        raise ProfileError(f"{given.profile}: expected the profile of a batch system, since only that has a job script")
    say(job_script(profile))
    return 0


def _schema(given: argparse.Namespace) -> int:
    from menndl_dask.cluster.profile import profile_schema

    say(json.dumps(profile_schema(), indent=1, ensure_ascii=False))
    return 0


def _status(given: argparse.Namespace) -> int:
    if given.is_json:
        from menndl_dask.cli.following.run_state import RunState

        say(json.dumps(RunState.read(given.run).to_dict(), indent=1, ensure_ascii=False))
        return 0
    from menndl_dask.cli.status import status

    say(status(given.run))
    return 0


def _stop(given: argparse.Namespace) -> int:
    from menndl_dask.run.layout import folders_of

    # the supervisor of islands holds the whole run, and stops islands whose drivers are only starting
    asked = [_ask_to_stop(folder) for folder in (*folders_of(given.run).values(), given.run)]
    if not any(asked):
        raise RunError(f"{given.run}: expected a run with a driver, got none")
    return 0


def _ask_to_stop(run: Path) -> bool:
    """Ask the driver of a run to stop, or cancel its jobs in the queue; return whether there is a driver."""
    from menndl_dask.cluster.batch.queue import queued
    from menndl_dask.run import stop_request
    from menndl_dask.run.journal import holder
    from menndl_dask.search.detached_driver import Detached, Drivers, cancel, cancel_command, site_of

    detached = Detached.read(run)
    held = holder(run)
    if held is None and detached is None:
        return False
    stop_request.ask(run, f"{getpass.getuser()} on {socket.gethostname()}")
    if held is not None:
        say(f"{run}: asked its driver ({held}) to stop once its running evaluations are finished")
    elif detached is not None:
        site = site_of(detached.profile)
        waiting = queued(site.system, Drivers.read(run).jobs)
        if waiting and not detached.is_own:
            command = cancel_command(site, waiting)
            raise RunError(f"{run}: its batch jobs are not signed as yours and stay; if they are yours: {command}")
        cancel(site, waiting)
        say(f"{run}: no driver runs; cancelled {', '.join(waiting) or 'none: no job is in the queue'}")
    return True
