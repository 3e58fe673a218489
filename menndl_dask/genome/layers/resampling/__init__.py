"""Gene kinds that change the number of pixels. Runs anywhere: only `build` and `read` import Keras."""
