"""One module for each data set that a training can read."""
