"""Performance estimation on a worker, without Keras."""
