"""What a search was expected to cost, and what it did cost."""
