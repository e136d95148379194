"""Measurements: `python -m benchmarks.networks`, `.scaling`, `.study` and `.gpu`; see README.md in this folder.

The package's own top is light on purpose: contestants run in their own processes, some under another interpreter,
and share only `cases`, `program`, `flops` and `serve`, which need nothing but numpy.
"""
