"""Damaged files by the hundred thousand: every reader gives a sound study or InputError, whatever it is fed.

`python -m tests.fuzz --format nifti.gz --mutations 200000 --seed 0` runs one format, without `--format` all of
them; `--help` lists the rest. A mutation is a pure function of format, seed and index: `--replay 4711` runs one
again and shows what happened.
"""
