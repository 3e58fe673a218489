"""A search simulated at any scale, by discrete events."""
