"""Several searches that share one run."""
