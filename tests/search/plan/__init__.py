"""Tests of the plan before a search."""
