"""Alignments written and read again."""
