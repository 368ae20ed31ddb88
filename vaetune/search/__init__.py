"""Runs searches: sessions, oracles, executors and the check before a search."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
