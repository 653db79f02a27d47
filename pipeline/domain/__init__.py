"""The rules, as pure functions over Polars frames: no clock, no environment, no network, no files.

What belongs here: who gets a print user, what a job costs whom, what would change, whether the books agree. What does
not: reading or writing anything. Only the standard library, polars and pandera are imported (a test holds this).
"""
