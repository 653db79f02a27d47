"""The machine behind the asset graph: everything that would survive without Dagster, plus the files that wire it.

What belongs here: the rooms of docs/architecture.md, one package each, and the few modules that they share. What does
not: the graph itself (`assets`). Importing this package has no effect.
"""
