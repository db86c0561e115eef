"""Datasets: random access by index, fixed splits, recorded preprocessing."""
