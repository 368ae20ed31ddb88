"""What a study shows: importance, timeline, utilisation."""
