"""Documentation, examples, benchmarks, public names, wheels."""
