"""Affinity: each customer on one replica, in both ingress modes, so that each model is loaded once.

Behind HAProxy a balance line hashes the customer (`haproxy`); behind Ray's Python proxy a router class does
(`router`). In both, `retryable` lets clients try again what has failed. All of it stands on internals of Ray
Serve 2.60: see docs/decisions/0002-two-ingress-modes.md.
"""
