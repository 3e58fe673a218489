"""Gene kinds whose kernels slide over an image. Runs anywhere: only `build` and `read` import Keras."""
