"""The command ``python -m menndl_dask.cli``, as in the job scripts of detached drivers. Runs on the driver."""

import sys

from menndl_dask.cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
