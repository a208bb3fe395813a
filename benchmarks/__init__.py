"""Benchmarks: each script here that has a main. docs/benchmarks.md says what they measure."""
