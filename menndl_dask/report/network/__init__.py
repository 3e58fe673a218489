"""A network on a page: its drawing at first sight, and a table layer by layer."""
