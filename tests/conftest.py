"""Settings for all tests: quiet frameworks that leave the cores to each other, and no browser where there is none."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.chromium import find_browser

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests in a browser where there is none; in CI there must be one."""
    if item.get_closest_marker("browser") and find_browser() is None:
        missing = "there is no Chromium on this machine"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
