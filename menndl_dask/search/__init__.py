"""The driver's loop: ask, submit, record, tell."""
