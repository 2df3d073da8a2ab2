"""The loss as a caller and as torch see it."""
