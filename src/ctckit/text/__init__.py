"""How a text is spelt in a model's tokens: what is behind `ctckit.Vocabulary`.

A vocabulary is read (``vocabulary_sources.py``, ``vocabulary_files.py``) as a list of tokens with marks (`Alphabet`) or
as a tokenizer (``tokenizers.py``; ``token_places.py`` finds its tokens in the text). A text is laid out in words
(``word_layout.py``) and spelt without what is left out (``text_encoding.py``).
"""
