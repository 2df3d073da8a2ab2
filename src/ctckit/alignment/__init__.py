"""Where each label is: the best path of labels, of patterns and of texts, and how much of a frame each label holds.

`text` takes texts and returns an `Alignment`; `forced` and `patterns` take labels and return paths; `occupancy` returns
posteriors. `priors` estimates how often a model says each class.
"""
