"""The command ``python -m menndl_dask``, which is ``menndl``. Runs on the driver."""

import runpy

if __name__ == "__main__":
    runpy.run_module("menndl_dask.cli", run_name="__main__", alter_sys=True)
