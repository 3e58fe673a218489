"""Tests of `performance.simulation`."""
