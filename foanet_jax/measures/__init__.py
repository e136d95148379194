"""How good a segmentation is, and what it says about the heart."""
