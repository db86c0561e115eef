"""HTML reports and figures, from records and results only."""

from pwact.report.experiment_page import render_experiment, write_experiment_page
from pwact.report.page import write_report

__all__ = ["render_experiment", "write_experiment_page", "write_report"]
