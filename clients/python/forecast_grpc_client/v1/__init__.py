"""The stubs of `forecast.v1`, generated; their messages live in a descriptor pool of their own: see `_pool.py`."""
