"""Tests of `evolution`."""
