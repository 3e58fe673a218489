"""The entry of ``menndl`` and ``python -m menndl_dask.cli``: loads the command line and runs it. Runs on the driver.

Ctrl-C while the command line is loaded ends the process at once, since there is no work to end in order.
"""

import os
import signal
import sys


def main() -> int:
    """Run a command and return its exit code, whatever happens while its modules are loaded."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _leave)
    try:
        from menndl_dask.cli import cli
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in a line
        return _failed(error)
    status = cli.main()
    if status == _STOPPED:
        # threads of libraries may still read or wait
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


_STOPPED = 130  # `menndl_dask.errors.ExitCode.STOPPED`, imported only after signals are handled


def _leave(number: int, frame: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(_STOPPED)


def _failed(error: Exception) -> int:
    """Tell why the modules cannot be loaded."""
    from menndl_dask.program.guard import guarded

    def tell() -> int:
        raise error

    return guarded(tell, program="menndl")


if __name__ == "__main__":
    sys.exit(main())
