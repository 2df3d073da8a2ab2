"""Decoders with the names, arguments and results of other packages, so that a program changes one import.

`ctckit.compat.pyctcdecode`, `ctckit.compat.torchaudio` and `ctckit.compat.transformers` translate arguments and
results; the search is ctckit's. docs/coming-from-other-decoders.md says what differs.
"""
