"""Text to tokens: `ctckit.Vocabulary` reads a model's vocabulary and spells texts in its tokens.

=========================  ========================================================================================
vocabulary.py              `Vocabulary`: encodes texts, looks up tokens, finds the words of a row of tokens
transcript.py              the results: `Transcript` and its pieces; and the chunks and units on the way to them
vocabulary_sources.py      reads a vocabulary from a list, a dict, a file or a tokenizer
vocabulary_files.py        reads ``vocab.json`` and ``tokens.txt``
tokenizers.py              one interface to transformers, tokenizers, sentencepiece and tiktoken
token_offsets.py           finds the characters of each token, for tokenizers that do not tell them
encode.py                  spells a text; leaves out characters without a token, or makes wildcards of them
word_layout.py             splits a text into words: by white space, or as the caller says
word_marks.py              marks of word starts, middles and ends in tokens: ``▁``, ``Ġ``, ``##``, ``@@``, ``</w>``
longest_match.py           spells a word in tokens of a list, by the longest tokens that fit
single_characters.py       the fast path: every token is a single character
byte_level.py              byte-level alphabets, in which each byte is a character (GPT-2)
case_folding.py            upper and lower case, letter by letter
special_tokens.py          names of special tokens: blank, padding, unknown, sentence start and end, bytes
blank.py                   which class is the blank
unknown.py                 the option ``unknown``: an error, a wildcard, or left out
hints.py                   remedies in error messages about unknown characters
=========================  ========================================================================================
"""
