"""The Python interface: a search in one call, pictures of a run, and progress in a notebook. Runs on the driver."""
