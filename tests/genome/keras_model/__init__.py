"""Tests of `genome/keras_model`."""
