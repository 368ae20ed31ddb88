"""Charts: an Info computed from a study, and a function that draws it."""
