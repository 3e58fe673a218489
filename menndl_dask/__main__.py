"""The entry of ``python -m menndl_dask``, which is that of ``menndl``. Runs on the driver."""

import sys

from menndl_dask.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
