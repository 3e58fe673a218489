"""Tests of the commands that measure, forecast and simulate."""
