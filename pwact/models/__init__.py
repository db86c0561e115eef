"""Readable configurations and the networks built from them."""
