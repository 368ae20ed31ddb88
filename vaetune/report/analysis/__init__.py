"""Analyses of a study: hyperparameter importance, timeline and utilisation of workers."""
