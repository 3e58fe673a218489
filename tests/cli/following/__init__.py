"""Tests of what follows a run."""
