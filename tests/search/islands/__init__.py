"""Tests of `search/islands`."""
