"""Tests of `run.forecast`."""
