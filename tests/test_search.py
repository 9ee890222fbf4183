"""A search on the tiny corpus with real processes: the same bytes for any number of them, and after any kill."""
