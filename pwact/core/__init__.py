"""Probe, accumulators, sweep, results: what pwact exists for."""
