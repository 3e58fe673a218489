"""What a store gets from a source: images, labels, columns, and how it is written and told."""
