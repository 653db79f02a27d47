"""What stands above a monthly report, on the page as in the workbook: of what, of which month, in which money.

What belongs here: the words that both share. What does not: either of them (`page.py`, `workbook.py`), and which rows
and sums they hold (`sheets.py`, `figures.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pipeline.reports.sheets import month_days

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
"""Written out, so that the bytes do not depend on the language of the machine."""

SIGNS = {"GBP": "£", "EUR": "€"}
"""Signs that belong to one currency only; the others are shown by their code."""


@dataclass(frozen=True)
class Title:
    """What a report is about.

    Args:
        scope: the name of the site, or `all sites`.
        month: for example 2026-11.
        zones: the time zones of its sites.
    """

    scope: str
    month: str
    zones: tuple[str, ...]

    @property
    def first(self) -> date:
        """The first day of the month."""
        return month_days(self.month)[0]

    @property
    def last(self) -> date:
        """The last day of the month."""
        return month_days(self.month)[1]

    @property
    def month_name(self) -> str:
        """The month in words: November 2026."""
        return f"{MONTHS[self.first.month - 1]} {self.first.year}"

    @property
    def text(self) -> str:
        """The title in words."""
        return f"Print charges, {self.scope}, {self.month_name}"

    @property
    def note(self) -> str:
        """What the dates and amounts mean."""
        return (
            f"{self.first.day} to {self.last.day} {self.month_name}, in the time of {' and '.join(self.zones)}."
            " 1 credit is 1 cent."
        )


def sign(currency: str | None) -> str:
    """What stands before an amount: £, or `USD ` with its blank; nothing where the currency is unknown."""
    if currency is None:
        return ""
    return SIGNS.get(currency, f"{currency} ")
