"""Tests of `prediction`."""
