"""The queue: the jobs of the user that wait or run. Runs on the driver."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
from asyncio.subprocess import DEVNULL, PIPE

from menndl_dask.batch_system import SYSTEMS

logger = logging.getLogger(__name__)

_ANSWER_S = 60.0
_MESSAGE_LENGTH = 300  # characters that are logged of a message of the batch system


async def listed(system: str) -> dict[str, str] | None:
    """Return the reason why each job of the user waits, by job number; None if the batch system does not answer.

    The reason is empty for jobs that run, and where the batch system gives none.

    Parameters
    ----------
    system
        The batch system, a key of `SYSTEMS`.
    """
    batch_system = SYSTEMS[system]
    command = [word.format(user=getpass.getuser()) for word in batch_system.queued]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _ANSWER_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    except (OSError, TimeoutError) as error:
        logger.info("the batch system does not answer: %s", error)
        return None
    text, message = output.decode(errors="replace"), errors.decode(errors="replace")
    if process.returncode and batch_system.empty not in message:
        logger.info("the batch system does not answer: %s", " ".join(message.split())[:_MESSAGE_LENGTH])
        return None
    reasons = batch_system.reasons(text)
    return {number: reasons.get(number, "") for number in batch_system.numbers(text)}
