"""Commands that measure, forecast and simulate what a search costs."""
