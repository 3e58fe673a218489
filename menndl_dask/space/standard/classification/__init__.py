"""Published networks for classes and values of whole images, one file each."""
