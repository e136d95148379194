"""Pure array functions: the boxes of Fig. 1 between the file and the networks."""
