"""Image processing as pure array functions: the steps of Fig. 1 between reading a file and the networks."""
