"""NIfTI files: checks headers, reads voxels with limits on their size, and writes masks on the grid of the input."""
