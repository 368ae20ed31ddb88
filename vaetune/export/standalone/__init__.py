"""Programs that run without vaetune.

`predict.py` is copied into an export as it is; `read_back.py` checks one in a process of its own.
"""
