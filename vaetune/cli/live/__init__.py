"""Progress that is shown while a search or an evaluation runs."""
