"""Gene kinds that change each value by itself, its size kept. Runs anywhere: only `build` and `read` import Keras."""
