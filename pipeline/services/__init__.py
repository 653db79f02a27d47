"""The outside systems: one folder for each, and what they have in common.

What belongs here: speaking to a service, and giving what it answers names and types. What does not: when to ask
(`steps`), what to change (`effects`), what is kept (`store`). Nothing here knows Dagster or the warehouse.
"""
