"""Sweeps: an experiment, or the rows of its table, over the folds of its data set."""
