"""Gene kinds that weigh pixels or channels by what they show. Runs anywhere: only `build` and `read` import Keras."""
