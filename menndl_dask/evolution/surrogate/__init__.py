"""The surrogate model that predicts fitness and feasibility of networks that were not evaluated."""
