"""Tests of the layouts of published data sets and satellite scenes."""
