"""Settings for all tests: quiet frameworks that leave the cores to each other, and no browser where there is none.

Test processes take one file after the other; the longest come first, so that no process is left with one of them at the
end, and before them the one that waits longest.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from menndl_dask.program.keras_import import import_frugally
from tests.chromium import find_browser

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MENNDL_TRIAL_SECONDS", "0.5")  # of each new search: enough for some steps
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiling takes longer than what is computed

# files of tests that wait long or take half a minute of processor time or more, the longest first
_LONG = (
    "tests/site/test_driver_in_the_queue.py",
    "tests/test_workflows.py",
    "tests/training/test_backends.py",
    "tests/test_docs.py",
    "tests/test_main_job.py",
    "tests/site/",
    "tests/evaluation/test_evaluation.py",
    "tests/prediction/test_prediction.py",
    "tests/benchmarks/",
    "tests/faults/",
    "tests/test_old_runs.py",
    "tests/search/test_search.py",
    "tests/notebook/test_fit.py",
    "tests/performance/test_profile.py",
    "tests/search/islands/test_supervisor.py",
    "tests/evolution/test_evolution.py",
    "tests/training/",
    "tests/cluster/",
    "tests/prediction/",
)

# what a shell starts in the background ignores Ctrl-C, and so would all that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples each time; no deadline, since shared machines stall now and then
patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("menndl", **patient, derandomize=True)
# `make fuzz`: other examples for each seed, and none that an earlier run has kept
settings.register_profile(
    "fuzz", **patient, derandomize=False, database=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000"))
)
settings.load_profile("menndl")
# hypothesis also draws constants of the modules that are imported by then: the order of the tests would matter
providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(scope="module", autouse=True)
def _no_client_stays() -> Iterator[None]:
    """Fail where a module leaves a Dask client: what the next ones compute would wait for its workers for ever."""
    yield
    if "distributed" in sys.modules:
        from distributed import default_client

        with pytest.raises(ValueError, match="No clients found"):
            default_client()


@pytest.fixture(autouse=True)
def _nothing_is_trusted_yet(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let each test begin without code that may be imported, and sign runs with a key of these tests."""
    monkeypatch.setattr("menndl_dask.own_code._ALLOWED", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture(autouse=True)
def _programming_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise what a command would tell its user in a line: a test of the command must fail with the traceback."""

    def raised(error: Exception) -> str:
        raise error

    monkeypatch.setattr("menndl_dask.program.guard.unexpected", raised)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while the tests are collected, nor look again and again at what stays: modules and tests."""
    gc.disable()
    try:
        if "PYTEST_XDIST_WORKER" in os.environ:  # which collects all tests, of which many import Keras
            import_frugally("keras")
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    ranks: dict[str, int] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        if file not in ranks:
            ranks[file] = next((rank for rank, name in enumerate(_LONG) if file.startswith(name)), len(_LONG))
    items.sort(key=lambda item: ranks[item.nodeid.partition("::")[0]])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests in a browser where there is none; in CI there must be one."""
    if item.get_closest_marker("browser") and find_browser() is None:
        missing = "there is no Chromium on this machine"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
