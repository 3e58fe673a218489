"""What several gene kinds share. Runs anywhere: only functions that build or read import Keras."""
