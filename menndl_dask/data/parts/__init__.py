"""Parts of images: regions for the splits, and patches for training."""
