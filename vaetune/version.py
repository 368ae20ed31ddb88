"""The version of vaetune."""

__version__ = "0.2.0"
