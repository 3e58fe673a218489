"""Reading of the arrays of a Zarr store, part by part."""
