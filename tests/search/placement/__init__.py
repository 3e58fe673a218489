"""Tests of where networks are trained."""
