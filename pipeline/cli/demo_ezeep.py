"""The demo's month at a site on ezeep: people log in, print, and the report is laid into its folder.

What belongs here: what the people of such a site do between two runs. What does not: the month (`demo.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

BATCH = 200

Json = dict[str, Any]
Ask = Callable[[str, str, object], Any]


def print_at(ask: Ask, site: str, jobs: Sequence[Json]) -> int:
    """Let everybody who was invited log in, print what they can, and write the report of all jobs so far.

    Args:
        ask: asks the control endpoint: method, path, body.
        site: the site.
        jobs: bodies of `POST /control/print`; of people who may not print here there is none.

    Returns:
        How many jobs were printed.
    """
    users: list[Json] = ask("GET", "state", None)["sites"][site]["users"]
    for user in users:
        if not user["is_verified"]:
            ask("POST", "accept", {"site": site, "email": user["email"]})
    able = {user["email"] for user in users if user["groups"]}
    due = [job for job in jobs if job["username"] in able]
    for first in range(0, len(due), BATCH):
        ask("POST", "print", due[first : first + BATCH])
    ask("POST", "report", {"site": site})
    return len(due)
