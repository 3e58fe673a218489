"""Tests of `run.usage`."""
