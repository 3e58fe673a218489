"""Tests of the live page and of progress in a notebook."""
