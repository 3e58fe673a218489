"""What surrounds a command or a script: its signals, its streams and its last line."""
