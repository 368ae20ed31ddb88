"""A report: one self-contained page over all searches in a folder of results."""

from vaetune.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
