"""One directory a run, written and read."""
