"""The switches of the ezeep sandbox: one for each unknown that matters to a caller, the first value is the default.

What belongs here: names and values. What does not: what they do (search for the name).
"""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.core import Core

SWITCHES: dict[str, tuple[Any, ...]] = {
    # addresses that belong to another ezeep account and so cannot be invited
    "foreign_account": ((), ["taken@example.com"]),
    # the most rows of a page, whatever is asked for
    "ezeep_page_size": (100, 2),
    # a collection below /v1 that is asked for without its last slash
    "ezeep_slash": ("redirect", "serve"),
    "ezeep_scopes": ("ignore", "enforce"),
    # whether client credentials bring a refresh token; no source lists one
    "ezeep_refresh_token": ("none", "with_client_credentials"),
    # an invitation of an address that has a user; `again` sends another mail
    "ezeep_duplicate_invitation": ("refuse_400", "refuse_409", "again"),
    # whether the printing service knows people who have not logged in yet
    "ezeep_invited_in_printing": ("yes", "no"),
    "ezeep_group_names": ("allow_doubles", "unique"),
    # the privacy switches of a report that the caller leaves out
    "ezeep_report_privacy": ("blank", "shown"),
    # how often a report is asked for before it is ready, what becomes of it, and how late jobs are in it
    "ezeep_report_polls": (2, 0),
    "ezeep_report_outcome": ("succeeded", "failed"),
    "ezeep_report_lag_seconds": (0, 600.0),
    # whether each event is told twice: delivery is at least once
    "ezeep_webhook_twice": ("off", "on"),
}


def choice(core: Core, name: str) -> Any:
    """The value of a switch, or its default."""
    return core.switch(name, SWITCHES[name][0])
