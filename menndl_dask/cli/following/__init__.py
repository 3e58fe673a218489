"""Following a run from elsewhere: its state, and a line that changes with it."""
