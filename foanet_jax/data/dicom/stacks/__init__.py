"""From images to stacks: which belong together, repeated and missing slices, and the grid that they lie on."""
