"""Layouts of published data sets and satellite scenes, one module each. Runs on the driver.

`menndl convert --layout NAME` opens a folder or file with them as a `Content`.
"""
