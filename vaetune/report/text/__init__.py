"""Studies, trials and evaluations as plain text, for the terminal and the report."""
