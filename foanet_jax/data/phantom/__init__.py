"""Synthetic hearts with exact labels: short-axis cines, short-axis stacks and whole hearts."""
