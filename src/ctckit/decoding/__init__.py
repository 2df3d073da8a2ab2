"""Decoding: what was said, from emissions to labels and text.

`greedy` and `beam` return classes. `decoder` returns text, and `stream` decodes piece by piece. `hypothesis` has the
results. `scorers` says what else than the emissions a hypothesis may be scored by.
"""
