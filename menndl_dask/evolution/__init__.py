"""The search strategy: ask for the next network, tell its result."""
