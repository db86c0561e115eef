"""HTML reports and figures, from records and results only."""
