"""The backends against the reference and float64: numerics, instruction sets, threads."""
