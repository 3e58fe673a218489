"""Tests of a network on a page."""
