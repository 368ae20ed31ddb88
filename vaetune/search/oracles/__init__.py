"""Keras Tuner's oracles, corrected and rebuilt from the journal."""
