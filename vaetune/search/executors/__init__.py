"""Executors: they train models in this process, or in worker processes on Ray."""
