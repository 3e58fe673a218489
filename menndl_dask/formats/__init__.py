"""Formats that `menndl convert` reads, one file each. Runs on the driver.

Each is a context manager that yields the `Content` of a file or folder and reads values only when they are sliced. The
libraries are imported late; they come with ``pip install "menndl_dask[formats]"``.
"""
