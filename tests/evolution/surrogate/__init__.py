"""Tests of `evolution/surrogate`."""
