"""The result of `ctckit.align`, and the formats in which it is written.

=====================  ==========================================================================================
alignment.py           `Alignment`: a transcript in its places; its methods call the modules below
spans.py               the parts of an alignment: `AlignedToken`, `AlignedWord`, `AlignedLine`
lines.py               the lines of a transcript, and the characters of its tokens and words
table.py               the table that `repr` shows
json_values.py         plain values for JSON, written and read again
formats.py             CTM, TextGrid and pandas
subtitles.py           SubRip and WebVTT: groups parts of the text into cues
subtitle_parts.py      the parts of a text that stay in one cue: words, or parts of words without spaces
line_breaks.py         where a text may be broken, and where sentences and clauses end
timestamps.py          times rounded to milliseconds, and written in digits
=====================  ==========================================================================================
"""
