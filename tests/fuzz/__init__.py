"""Inputs of every kind, damaged at random, and the commands that read them."""
