"""What the live page of a search shows."""
