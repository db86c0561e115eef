"""Controlled training of many seeds at once."""
