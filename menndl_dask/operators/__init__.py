"""Genetic operators: selection, crossover and mutation, one file each. Pure."""
