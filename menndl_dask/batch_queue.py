"""The queue: which jobs of the user wait or run, in the batch system's own words. Runs on the driver."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
from asyncio.subprocess import DEVNULL, PIPE

from menndl_dask.batch_system import SYSTEMS

logger = logging.getLogger(__name__)

_ANSWER_S = 60.0
_SAID = 300  # characters of a message of the batch system


async def listed(system: str) -> dict[str, str] | None:
    """Return the user's jobs, each with what it waits for where that is told; nothing if there is no answer.

    Parameters
    ----------
    system
        The batch system, a key of `SYSTEMS`.
    """
    asked = SYSTEMS[system]
    command = [word.format(user=getpass.getuser()) for word in asked.queued]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        try:
            printed, said = await asyncio.wait_for(process.communicate(), _ANSWER_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    except (OSError, TimeoutError) as error:
        logger.info("the batch system does not answer: %s", error)
        return None
    text, trouble = printed.decode(errors="replace"), said.decode(errors="replace")
    if process.returncode and asked.empty not in trouble:
        logger.info("the batch system does not answer: %s", " ".join(trouble.split())[:_SAID])
        return None
    reasons = asked.reasons(text)
    return {number: reasons.get(number, "") for number in asked.numbers(text)}
