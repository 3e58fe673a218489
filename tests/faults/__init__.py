"""Real searches under faults: what dies, stops, fills up, vanishes or lies, and that no result is lost or repeated."""
