"""A clock for Dask's connections that no step of the machine's clock moves."""

from __future__ import annotations

import subprocess
import sys

# messages go on where the machine's clock is set back while a stream of Dask waits for its next moment
PROGRAM = """
import asyncio, time
from distributed.batched import BatchedSend
from menndl_dask.cluster.steady_clock import keep_time_steady

class Comm:
    sent = []
    def closed(self):
        return False
    async def write(self, message, **_):
        self.sent += message
        return 1

async def main():
    if {steady}:
        keep_time_steady()
    stream = BatchedSend(interval="50ms")
    stream.start(Comm())
    stream.send(1)
    await asyncio.sleep(0.02)
    stream.send(2)
    true_time = time.time
    time.time = lambda: true_time() - 86_400
    import distributed.batched
    if not {steady}:
        distributed.batched.time = time.time
    await asyncio.sleep(0.5)
    print(Comm.sent, flush=True)

asyncio.run(main())
"""


def _sent(*, steady: bool) -> str:
    program = PROGRAM.format(steady=steady)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stdout.strip()


def test_messages_are_sent_though_the_clock_is_set_back() -> None:
    assert _sent(steady=True) == "[1, 2]"
    assert _sent(steady=False) == "[1]"  # else the clock need not be kept steady any more
