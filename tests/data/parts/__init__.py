"""Tests of `data/parts`."""
