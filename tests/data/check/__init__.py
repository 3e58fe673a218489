"""Tests of `data/check`."""
