"""The queue: the jobs of the user that wait or run. Runs on the driver."""

from __future__ import annotations

import asyncio
import getpass
import logging
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import suppress

from menndl_dask.cluster.batch.batch_system import SYSTEMS
from menndl_dask.errors import shortened

logger = logging.getLogger(__name__)

_ANSWER_S = 60.0


async def listed(system: str) -> dict[str, str] | None:
    """Return the reason why each job of the user waits, by job number; None if the batch system does not answer.

    The reason is empty for jobs that run, and where the batch system, a key of `SYSTEMS`, gives none.
    """
    batch_system = SYSTEMS[system]
    command = [word.format(user=getpass.getuser()) for word in batch_system.queued]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _ANSWER_S)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    except (OSError, TimeoutError) as error:
        logger.info("the batch system does not answer: %s", error)
        return None
    text, message = output.decode(errors="replace"), errors.decode(errors="replace")
    if process.returncode and batch_system.empty not in message:
        logger.info("the batch system does not answer: %s", shortened(message))
        return None
    reasons = batch_system.reasons(text)
    return {number: reasons.get(number, "") for number in batch_system.numbers(text)}


def queued(system: str, numbers: Sequence[str]) -> dict[str, str]:
    """Return the jobs that wait or run, each with the reason for which it waits, if the batch system gives one.

    If the batch system does not answer, all jobs are returned.
    """
    if not numbers:
        return {}
    alive = asyncio.run(listed(system))
    return {n: "" if alive is None else alive[n] for n in numbers if alive is None or n in alive}
