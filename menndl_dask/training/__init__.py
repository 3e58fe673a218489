"""One training, in the child process, with Keras."""
