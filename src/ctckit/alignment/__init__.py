"""Alignment: best paths of labels, patterns and texts, and the occupancy of each label in each frame.

`text` takes texts and returns an `Alignment`. `forced` and `patterns` take labels and return paths. `occupancy` returns
posteriors. `priors` estimates the mean posterior of each class.
"""
