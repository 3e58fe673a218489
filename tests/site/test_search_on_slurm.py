"""The search on a real Slurm: jobs of several nodes, cancelled jobs, killed workers, time limits, adaptation."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from menndl_dask.cluster.batch import multi_node_cluster
from menndl_dask.cluster.batch.multi_node_cluster import MultiNodeCluster
from menndl_dask.cluster.cluster import Cluster, load_cluster
from menndl_dask.errors import RunError
from menndl_dask.run.progress import Counts
from menndl_dask.run.run import Run
from menndl_dask.search.search import Search
from tests.evaluations import SPACE
from tests.site.evaluating import done, finished, located
from tests.sites import site
from tests.slurm import Slurm, until

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask Slurm every second what is queued."""
    monkeypatch.setattr(multi_node_cluster, "_QUEUE_S", 1.0)
    monkeypatch.setattr(multi_node_cluster, "_SUSPECT_QUEUE_S", 1.0)


def where(directory: Path, **keys: Any) -> Cluster:
    """Return a cluster on the test Slurm whose workers start without a nanny, which halves what that costs."""
    jobqueue = {"cores": 2, "memory": "2GB", "walltime": "00:10:00", "nanny": False, **keys.pop("jobqueue", {})}
    return load_cluster(site("slurm", directory, jobqueue=jobqueue, **keys))


class Watching:
    """Calls an action once, when so many evaluations are home; a `Progress` of the search."""

    def __init__(self, actions: dict[int, Callable[[], object]]) -> None:
        self._actions = actions
        self.workers: list[int] = []

    def show(self, counts: Counts, now: float) -> None:
        self.workers.append(counts.workers)
        for count in [count for count in self._actions if counts.done >= count]:
            self._actions.pop(count)()

    def close(self, counts: Counts, now: float) -> None:
        assert not self._actions, "the search ended before all was done to it"


def search(run: Path, client: Client, evaluations: int, actions: dict[int, Callable[[], object]] | None = None) -> Run:
    """Search, doing something to the cluster after so many evaluations; each result has come home once."""
    found = Search(None, SPACE, run, evaluate=located).run(
        client, evaluations=evaluations, progress=Watching(dict(actions or {}))
    )
    assert sorted(individual.id for individual, _ in found.evaluations) == list(range(evaluations))
    assert {result.failure for _, result in found.evaluations} <= {None, "no_learning"}
    return found


def started(cluster: Cluster) -> MultiNodeCluster:
    """Return what Dask calls the cluster."""
    assert isinstance(cluster._started, MultiNodeCluster)
    return cluster._started


def test_a_job_of_two_nodes_that_is_cancelled_is_replaced_as_a_whole(slurm: Slurm, tmp_path: Path) -> None:
    first: list[str] = []

    def cancel() -> None:
        first.extend(slurm.jobs())
        slurm.cancel(*first)

    shared = tmp_path / "shared"
    with where(shared, nodes_per_job=2, gpus_per_node=2, gpu_vendor="nvidia") as cluster, cluster.client() as client:
        (credentials,) = shared.glob("credentials*")
        assert stat.S_IMODE(credentials.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in credentials.iterdir()} == {0o600}
        address = client.scheduler.address
        assert address.startswith("tls://")
        with pytest.raises((OSError, TypeError, RuntimeError)):
            Client(address, timeout=5, set_as_default=False)
        run = search(tmp_path / "run", client, 80, {20: cancel})
        (second,) = slurm.jobs()
        assert first != [second]
    # each worker saw one GPU, in one variable, and all four of them were used
    workers = {result.worker for _, result in run.evaluations}
    assert workers == {"n1:0:", "n1:1:", "n2:0:", "n2:1:"}
    until(slurm.is_empty)
    assert list(shared.glob("credentials*")) == []


def test_on_amd_nodes_workers_see_their_gpu_in_that_vendors_variable(slurm: Slurm, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"gpus_per_node": 2, "gpu_vendor": "amd", "launcher": "srun --gpus-per-task=1"}
    with where(tmp_path, **keys) as cluster, cluster.client() as client:
        run = search(tmp_path / "run", client, 10)
    assert {result.worker for _, result in run.evaluations} <= {"n1::0", "n1::1"}
    until(slurm.is_empty)


def test_a_worker_that_is_killed_also_with_its_nanny_is_started_again_and_nothing_is_lost(
    slurm: Slurm, tmp_path: Path
) -> None:
    with where(tmp_path, jobs=2, jobqueue={"nanny": True}) as cluster, cluster.client() as client:
        client.wait_for_workers(2, timeout=150)
        first, second = client.run(os.getpid).values()

        def kill() -> None:
            os.kill(first, signal.SIGKILL)

        def kill_nanny() -> None:
            os.kill(psutil.Process(second).ppid(), signal.SIGKILL)

        jobs = slurm.jobs()
        search(tmp_path / "run", client, 30, {8: kill, 16: kill_nanny})
        client.wait_for_workers(2, timeout=150)
        assert not {first, second} & set(client.run(os.getpid).values())
        assert slurm.jobs() == jobs  # in the same jobs
    until(slurm.is_empty)


def test_a_job_that_is_cancelled_while_it_waits_is_asked_for_again(
    slurm: Slurm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with where(tmp_path, jobqueue={"job_extra_directives": ["--begin=now+3600"]}):
        (first,) = slurm.jobs()
        until(lambda: f"no worker yet: job {first} waits in the queue (BeginTime)" in caplog.text)
        slurm.cancel(first)
        until(lambda: slurm.jobs() not in ([], [first]))
    until(slurm.is_empty)


def test_workers_retire_before_the_time_limit_and_nothing_is_evaluated_twice(slurm: Slurm, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"retire_s": 40, "jobqueue": {"walltime": "00:01:00"}}
    with where(tmp_path, **keys) as cluster, cluster.client() as client:
        run = search(tmp_path / "run", client, 70)
    assert len(done(run.path)) == 70
    assert not [note for note in run.notes if "lost" in note["message"]]
    assert len(slurm.states()) >= 2
    until(slurm.is_empty)


def test_jobs_grow_with_what_there_is_to_do(slurm: Slurm, tmp_path: Path) -> None:
    with where(tmp_path, jobs=[0, 2]) as cluster, cluster.client() as client:
        assert slurm.jobs() == []
        search(tmp_path / "run", client, 60)
        assert len(client.nthreads()) == 2
        # one job fewer: what its worker has finished is kept, though nobody has collected it
        ran = tmp_path / "ran"
        futures = client.map(finished, range(20), directory=str(ran), pure=False)
        until(lambda: all(future.done() for future in futures))
        started(cluster)._adaptive.stop()
        started(cluster).scale(jobs=1)
        until(lambda: len(slurm.jobs()) == 1)
        assert client.gather(futures) == list(range(20))
        assert len(list(ran.iterdir())) == 20
    until(slurm.is_empty)


def test_jobs_that_all_end_at_once_end_the_search_in_words(
    slurm: Slurm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {"job_script_prologue": ["echo no such module >&2; exit 1"]}
    told = r"no worker is left, and none will come: .* 3 jobs in a row ended at once; .* says: no such module"
    with (
        where(tmp_path, jobqueue=broken) as cluster,
        cluster.client() as client,
        pytest.raises(RunError, match=told),
    ):
        search(tmp_path / "run", client, 10)
    first, *_ = (record.getMessage() for record in caplog.records if "is submitted" in record.getMessage())
    assert first.endswith(" says: no such module")  # not only once it is too late
    until(slurm.is_empty)
