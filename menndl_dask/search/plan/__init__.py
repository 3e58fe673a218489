"""The plan before a search: each value of a sensible search, and why."""
