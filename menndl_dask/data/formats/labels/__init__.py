"""Labels as people have them: masks of grey values or colours, numbered objects, tables, positions, shares of chips."""
