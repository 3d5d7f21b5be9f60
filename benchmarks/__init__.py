"""Measurements of the product, run against the real thing: `python -m benchmarks.first`."""
