"""Readers of file formats, one module each. Runs on the driver.

Each is a context manager that yields the `Content` of a file; values are read when they are sliced.
"""
