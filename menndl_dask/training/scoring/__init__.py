"""The scores of a network: on which samples, by which metric, and whether it learns."""
