"""All that knows Dagster beside the graph itself: schedules, runs, the resource of a run, and `dagster dev`.

What belongs here: when runs are asked for and what became of them. What does not: what a run does (`steps`).
"""
