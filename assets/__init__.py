"""The graph: the only place with `@dg.asset` and `@dg.asset_check`.

An asset reads, calls a pure function, writes, and returns a `MaterializeResult`. How that is done is in `pipeline`.
"""
