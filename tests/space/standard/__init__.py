"""Tests of `space/standard`."""
