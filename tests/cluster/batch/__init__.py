"""Tests of `cluster/batch`."""
