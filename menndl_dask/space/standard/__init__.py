"""Standard networks, one file each."""
