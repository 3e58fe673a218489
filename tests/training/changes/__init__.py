"""Tests of `training.changes`."""
