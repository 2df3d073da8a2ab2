"""Benchmarks of ctckit: ``python -m benchmarks`` (see README.md in this folder)."""
