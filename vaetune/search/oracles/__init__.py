"""Keras Tuner's oracles, corrected, with their state restored from the journal."""
