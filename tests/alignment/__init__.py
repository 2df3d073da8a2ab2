"""Paths, spans, occupancy and priors."""
