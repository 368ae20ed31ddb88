"""Programs that run without vaetune and must not import it.

`predict.py` is copied into exports unchanged. `read_back.py` verifies an export in a process that
cannot import vaetune.
"""
