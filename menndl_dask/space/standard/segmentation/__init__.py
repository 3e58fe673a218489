"""Published networks for a class of each pixel, one file each."""
