"""One run of one site as plain functions, in time order: look, read, decide, charge, sync users, reconcile, report.

What belongs here: the order of the work and what is stored between. What does not: the rules (`domain`), the writes
to a service (`effects`), SQL (`store`). A step takes a `Site` and returns a value; nothing here knows Dagster.
"""
