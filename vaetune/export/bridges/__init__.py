"""Writes the trials of a study for other tools: Optuna, TensorBoard and MLflow."""
