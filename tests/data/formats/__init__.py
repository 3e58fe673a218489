"""Tests of `data/formats`."""
