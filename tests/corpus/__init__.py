"""Corpora: items, results, workers."""
