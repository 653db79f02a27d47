"""How fast printbridge is, always as a ratio to something a reader can picture, measured in the same run.

What belongs here: worlds of a known size, printbridge and its peers on the same sandbox, one table. What does not: a
bound that fails a build; speed is measured, never asserted. `make bench` runs `python -m benchmarks`.
"""
