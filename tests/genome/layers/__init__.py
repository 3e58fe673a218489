"""Tests of `genome/layers`."""
