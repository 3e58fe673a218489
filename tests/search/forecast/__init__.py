"""Tests of `search.forecast`."""
