"""The graph: the only place with `@dg.asset` and `@dg.asset_check`.

What belongs here: what depends on what, the words of each asset, and how what a step made is shown. What does not: the
work. An asset calls one step of `pipeline.steps` and returns a `MaterializeResult`; only here is one made.
"""
