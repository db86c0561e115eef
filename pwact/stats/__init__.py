"""Accumulators: one statistic a file."""
