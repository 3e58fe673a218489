"""Tests of reading from stores."""
