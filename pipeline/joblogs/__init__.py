"""Where print jobs come from: one protocol, one frame, three sources.

    database.py    PaperCut's own database (best: ids, flags, refunds), and its users with their balances
    server.py      the connection to it, and what its failures mean
    print_log.py   the layout of PaperCut's tab-separated daily print logs
    csv_report.py  the layout of CSV files with a header row (Print Logger, exported reports)
    source.py      which of them a site reads
    folder.py      what both kinds of files share: which files are due, which lines are whole, how a job is named

What belongs here: reading rows and giving them one shape, exact to the credit and the second. What does not: which
rows are charged, to whom and how much (`domain/`), and remembering rows or cursors (`warehouse.py`). Nothing here
writes to PaperCut, and document names and client machines never leave this folder: no rule needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Protocol

import polars as pl

JOB_COLUMNS = pl.Schema({
    "job_id": pl.String(),             # unique within the source, the same at every read
    "printed_at": pl.Datetime("us", "UTC"),
    "username": pl.String(),           # lower case; empty if the source does not know who
    "printer": pl.String(),
    "pages": pl.Int64(),
    "color_pages": pl.Int64(),
    "copies": pl.Int64(),
    "duplex": pl.Boolean(),
    "cost": pl.Decimal(18, 6),         # credits; null if the source does not say
    "allowed": pl.Boolean(),           # false: denied
    "printed": pl.Boolean(),           # false: waiting for release, timed out or cancelled
    "refunded": pl.Boolean(),
    "job_type": pl.String(),           # PRINT, COPY, SCAN, FAX
    "shared_account": pl.Boolean(),    # charged to an account that is not the user's own
})  # fmt: skip
"""The frame every source gives (`papercut-api.md` 5.1); which rows count is decided elsewhere (5.2)."""

SLACK_DAYS = 2
"""A first read reaches this far below `since`: more than any error in a server's clock or time zone."""

_PLACES = Decimal("0.000001")
_LIMIT = Decimal(10) ** 12


@dataclass(frozen=True)
class JobBatch:
    """One read of a source.

    Attributes:
        jobs: rows of `JOB_COLUMNS`; rows read before may come again, `job_id` tells.
        cursor: give it to the next `read`; empty after a `reread`, which leaves the last cursor valid.
        problems: rows that could not be read, each with its place and the reason, without personal data. They are
            named at every read that meets them, and the rows around them are in `jobs`.
    """

    jobs: pl.DataFrame
    cursor: str
    problems: list[str]


class JobSource(Protocol):
    """The print jobs of one site. Every method may raise TransientError, ConfigError or UnsafeError."""

    def newest(self) -> str:
        """One cheap look. It equals the cursor of the last `read` unless something arrived since."""
        ...

    def read(self, cursor: str | None) -> JobBatch:
        """What arrived since the cursor, and again what lies in the look-back window; everything without a cursor.

        The order of arrival counts, never the date of a job: late rows carry old dates (`money-safety.md` 3.4).
        """
        ...

    def reread(self, since: datetime) -> JobBatch:
        """Every job printed at or after `since` (aware), to find rows that changed, such as refunds."""
        ...

    def close(self) -> None:
        """Let go of connections. The source can be used again afterwards."""
        ...


def utc(local: pl.Expr, timezone: str) -> pl.Expr:
    """The server's wall-clock times (naive) as UTC, without an exception at either clock change.

    An hour that happens twice is taken as its first pass. A time that never was (spring) keeps the offset from before
    the change, so it moves forward with the clock.
    """
    moment = _placed(local, timezone)
    day = pl.duration(days=1)
    return moment.fill_null(_placed(local - day, timezone) + day)


def _placed(local: pl.Expr, timezone: str) -> pl.Expr:
    return local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def as_credits(value: float | Decimal | str) -> Decimal:
    """A cost or balance as exact credits with six places; the noise of doubles is rounded away.

    Raises:
        ValueError: not a finite number below a million million.
    """
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if not amount.is_finite() or abs(amount) >= _LIMIT:
        raise ValueError("is not a finite number below 10^12")
    return amount.quantize(_PLACES)
