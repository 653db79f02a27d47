"""Where things are kept: all SQL and all names of tables.

What belongs here: opening the warehouse, its tables and books, locks, backups. What does not: what the rows mean
(`domain`). Nothing here knows a service.
"""
