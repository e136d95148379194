"""Indices for the size of the body, and their reference ranges."""
