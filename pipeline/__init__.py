"""The machine behind the asset graph: everything that would survive without Dagster, plus the files that wire it.

Importing this package has no effect. The graph itself is in `assets`.
"""
