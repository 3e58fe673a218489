"""Tests of what a store gets from a source."""
