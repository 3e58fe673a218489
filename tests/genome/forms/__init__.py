"""Tests of `genome/forms`."""
