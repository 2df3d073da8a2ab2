"""The arguments, targets, patterns and diagnosis."""
