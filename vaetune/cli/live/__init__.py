"""Progress shown while a search runs, and Ctrl-C."""
