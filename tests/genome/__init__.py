"""Tests of `genome`."""
