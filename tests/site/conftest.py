"""What tests on a real site need: a Slurm, started once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import slurm as real


@pytest.fixture(scope="session")
def slurm_daemons() -> Iterator[real.Slurm]:
    """Start a real Slurm; without its programs the test is skipped, or fails in continuous integration."""
    lacking = real.missing()
    if lacking:
        told = f"no Slurm on this machine (no {', '.join(lacking)}): apt install slurmctld slurmd slurm-client munge"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    with real.running_slurm() as slurm:
        yield slurm


@pytest.fixture
def slurm(slurm_daemons: real.Slurm) -> Iterator[real.Slurm]:
    """Give an empty Slurm, and hold the test to leaving it empty."""
    yield slurm_daemons
    left = slurm_daemons.jobs()
    slurm_daemons.cancel()
    real.until(slurm_daemons.is_empty, message="jobs do not end")
    assert not left, f"the test left jobs in the queue: {left}"
