"""Tests of `performance`."""
