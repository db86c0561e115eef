"""What accumulators are built from: exact counts, stable sums, ranks, and updates that stay in cache."""
