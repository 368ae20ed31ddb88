"""Verdicts: what could be better about a search, computed from its journal alone."""
