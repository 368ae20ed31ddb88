"""A search tried before it is run, and what it is going to take."""
