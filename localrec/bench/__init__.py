"""Benchmarks: each prints a table and returns ``{"bench", "commit", "hardware", "metrics": {name: number}}``."""
