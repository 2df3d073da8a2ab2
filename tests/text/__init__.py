"""Vocabularies, tokenizers and spelling."""
