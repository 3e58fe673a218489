"""Where networks are trained, by the memory that they are predicted to need."""
