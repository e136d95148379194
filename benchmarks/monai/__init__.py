"""Trains MONAI's U-Net on our folds and scores it with our metrics: `python -m benchmarks.monai`; see README.md."""
