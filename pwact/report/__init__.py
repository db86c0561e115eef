"""HTML reports and figures, from records and results only."""

from pwact.report.page import write_report

__all__ = ["write_report"]
