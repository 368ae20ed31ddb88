"""Studies, trials and evaluations in words."""
