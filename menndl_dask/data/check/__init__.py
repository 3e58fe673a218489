"""What `menndl check` finds out about a data set."""
