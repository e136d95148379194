"""MONAI's U-Net trained on our folds and scored by our metrics: `python -m benchmarks.monai`; see README.md here."""
