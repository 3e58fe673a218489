"""A network as genes, what it costs, and the way to Keras and back."""
