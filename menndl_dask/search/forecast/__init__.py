"""How long a search will take: the one place for such estimates."""
