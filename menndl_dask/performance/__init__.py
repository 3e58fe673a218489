"""What layers, networks and whole searches cost and sustain: measured, forecast and simulated."""
