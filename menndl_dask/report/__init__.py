"""One page from a run."""
