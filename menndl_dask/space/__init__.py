"""Which networks there are: search spaces, random networks and standard networks."""
