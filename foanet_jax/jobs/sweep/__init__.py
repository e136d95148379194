"""Sweeps: cross-validation of an experiment, or of all rows of its ablation table."""
