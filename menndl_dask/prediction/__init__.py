"""A trained network on images of any size."""
