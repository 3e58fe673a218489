"""What a genome can be written as: with repeated cells, layer by layer, and in its canonical form. Pure."""
