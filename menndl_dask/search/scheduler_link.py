"""The link to the scheduler: questions that it answers in time or not at all. Runs on the driver.

Dask's own calls wait for ever where the network is cut or the scheduler is stopped. Each of these gives up after some
seconds and returns None; the driver then knows nothing new, and asks again later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distributed import Client, Nanny

from menndl_dask.errors import RunError

ANSWER_S = 15  # seconds in which the scheduler must answer
_AT_ONCE = 32  # workers that are ended at the same time

logger = logging.getLogger(__name__)


class SchedulerLink:
    """Asks the scheduler of a client, at this address."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # Dask forgets it when it gives up
        self.address: str = getattr(client.scheduler, "address", None) or "its address"

    @property
    def is_closed(self) -> bool:
        """Whether the connection is lost for good: Dask has given up to restore it."""
        return bool(self._client.status == "closed")

    def lost(self) -> RunError:
        """Return the error that the connection is lost for good."""
        return RunError(f"lost the scheduler at {self.address}")

    def threads(self) -> dict[str, int] | None:
        """Return the number of threads of each worker, by its address."""
        answer = self._ask("ncores")
        return None if answer is None else {str(address): int(count) for address, count in answer.items()}

    def declared(self, resource: str) -> dict[str, float] | None:
        """Return how much of a resource each worker has, by its address; those that declare it."""
        answer = self._ask("identity")
        if answer is None:
            return None
        each = {str(address): worker.get("resources") or {} for address, worker in answer["workers"].items()}
        return {address: float(amounts[resource]) for address, amounts in each.items() if resource in amounts}

    def processing(self) -> dict[str, list[str]] | None:
        """Return the keys of the tasks that each worker has, in the order in which it got them, by its address."""
        answer = self._ask("processing")
        return None if answer is None else {str(address): list(map(str, keys)) for address, keys in answer.items()}

    def states(self, keys: Sequence[str]) -> dict[str, str | None] | None:
        """Return the states of tasks as the scheduler knows them, by their keys; None for one that it does not know."""
        answer = self._ask("get_task_status", keys=list(keys))
        return None if answer is None else dict(answer)

    def result(self, key: str) -> tuple[Any, ...] | None:
        """Return the result of a task that has completed, in a tuple; an empty one if it is lost."""
        # a future's own `result` waits until a lost one is computed anew
        answer = self._ask("gather", keys=[key])
        if answer is None:
            return None
        return (answer["data"][key],) if answer["status"] == "OK" and key in answer["data"] else ()

    def put(self, keys: Sequence[str], value: object) -> bool:
        """Leave a value with the scheduler, which its pages can show; return whether it has answered."""
        return self._ask("set_metadata", keys=list(keys), value=value, otherwise=False) is None

    def retire(self, addresses: Collection[str]) -> bool:
        """Close workers for good; return whether the scheduler has answered."""
        return self._ask("retire_workers", workers=list(addresses), close_workers=True, remove=True) is not None

    def end_workers(self, addresses: Collection[str]) -> set[str]:
        """End the processes of workers, which their nannies start again; return those that did not answer.

        Dask's own restart may end a worker for good (https://github.com/dask/distributed/issues/7312).
        """
        if not addresses:
            return set()
        with ThreadPoolExecutor(min(_AT_ONCE, len(addresses))) as pool:
            answered = zip(addresses, pool.map(self._end, addresses), strict=True)
            return {address for address, has_answered in answered if not has_answered}

    def _end(self, address: str) -> bool:
        """End a worker; return whether it answered. The nanny of one that did not kills it."""
        calls: tuple[tuple[Any, ...], ...] = ((False, os._exit, 1), (True, _kill_worker))
        for is_nanny, function, *arguments in calls:
            try:
                self._client.sync(
                    self._client._run, function, *arguments, workers=[address], nanny=is_nanny, on_error="ignore",  # noqa: SLF001 - `run` waits for ever
                    callback_timeout=ANSWER_S,
                )  # fmt: skip
            except Exception:
                logger.debug("%s does not answer", address, exc_info=True)
            else:
                return not is_nanny
        return False

    def _ask(self, question: str, otherwise: Any = None, **arguments: Any) -> Any:
        if self._client.status != "running":
            return otherwise
        try:
            return self._client.sync(getattr(self._client.scheduler, question), callback_timeout=ANSWER_S, **arguments)
        except Exception:  # the network, a client that is closing, an event loop that has ended: its status tells
            logger.debug("the scheduler does not answer", exc_info=True)
            return otherwise


def _kill_worker(dask_worker: Nanny) -> None:
    """Kill the worker of a nanny, which then starts another. Runs in the nanny."""
    process = dask_worker.process
    if process is not None and process.process is not None:
        process.process.kill()
