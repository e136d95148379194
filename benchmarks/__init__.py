"""Benchmarks: `python -m benchmarks.networks`, `.scaling`, `.study` and `.gpu`; see README.md in this folder.

This module imports nothing, on purpose. Contestants run in their own processes, some with another interpreter. They
share only `cases`, `program`, `flops` and `serve`, which need only NumPy.
"""
