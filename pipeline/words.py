"""Numbers and lists in sentences, the same everywhere.

What belongs here: the few forms that several texts share. What does not: the texts.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 5
"""So many of a list are named."""


def counted(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def listed(items: Sequence[str], one: str) -> str:
    """How many, and the first few by name."""
    if not items:
        return counted(0, one)
    more = ", ..." if len(items) > SHOWN else ""
    return f"{counted(len(items), one)} ({', '.join(items[:SHOWN])}{more})"
