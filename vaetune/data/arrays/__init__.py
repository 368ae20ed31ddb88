"""Reading of arrays: files, names and the order of axes."""
