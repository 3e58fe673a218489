"""Tests: one module for each module of the package, and helpers for several of them."""
