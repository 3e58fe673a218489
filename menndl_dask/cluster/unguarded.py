"""A script that starts workers without ``if __name__ == "__main__":``. Runs on the driver and on workers.

Python starts a worker process of this machine by importing the script again. Without that line the worker would start
workers of its own, and Python ends it with a long traceback.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

EXIT_CODE = 79  # of a worker that was about to start workers, which no other program here uses
ADVICE = 'put what starts the search under `if __name__ == "__main__":`, since each worker process imports the script'


def leave_if_imported() -> None:
    """End this process without a word if it is a worker that is only importing the user's script."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented, in spite of its name
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            os._exit(EXIT_CODE)
        frame = frame.f_back
