"""Tests of labels as people have them."""
