"""What runs on a node beside the Dask worker."""
