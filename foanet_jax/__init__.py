"""FOANet: two-stage segmentation of the heart in cardiac MR, in JAX."""

__version__ = "0.1.0"
