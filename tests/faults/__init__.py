"""Trainings that are killed, told to end and fed with NaN, checkpoints that are damaged: what comes out must be right.

`python -m tests.faults --kills 200 --corruptions 1000 --terms 50 --seed 1` runs it at length; `--help` lists the rest.
Every training is compared, byte by byte, with one that nothing happened to.
"""
