"""Measurements of the product, run against the real thing: `python -m benchmarks` (docs/performance.md)."""
