"""Programs that run where vaetune is not: they import nothing of it.

`predict.py` is copied into an export as it is; `read_back.py` checks one in a process of its own.
"""
