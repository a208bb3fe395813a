"""A bare server, run as `python -m benchmarks.bare`."""
