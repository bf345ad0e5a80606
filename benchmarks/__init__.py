"""Benchmarks: every number in docs/benchmarks.md, each made by one module of this package."""
