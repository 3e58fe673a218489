"""Formats that `menndl convert` reads, one module each. Runs on the driver.

Each is a context manager that yields the `Content` of a file or folder; values are read when they are sliced.
Libraries are imported when needed; install them with ``pip install "menndl_dask[formats]"``.
"""
