"""Changes of training images: moves of pixels, and changes of their values."""
