"""The version of vaetune."""

__version__ = "0.1.0"
