"""The boundary of print systems: what one holds, its users, its jobs, and applying one change.

What belongs here: the protocols, the frame of jobs that every source gives, and exact numbers and times. What does
not: how a system is spoken to (its folder), which jobs are charged and how much (`domain`), and remembering what was
read (`store`). Document names and client machines never leave the services: no rule needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple, Protocol

import polars as pl

from pipeline.domain.rules import Holding
from pipeline.services.reading import Read

JOB_COLUMNS = pl.Schema({
    "job_id": pl.String(),             # unique within the source, the same at every read
    "printed_at": pl.Datetime("us", "UTC"),
    "username": pl.String(),           # lower case; empty if the source does not know who
    "printer": pl.String(),
    "pages": pl.Int64(),
    "color_pages": pl.Int64(),
    "copies": pl.Int64(),
    "duplex": pl.Boolean(),
    "paper": pl.String(),              # null if the source does not say
    "cost": pl.Decimal(18, 6),         # credits; null if the source does not say
    "allowed": pl.Boolean(),           # false: denied
    "printed": pl.Boolean(),           # false: waiting for release, timed out or cancelled
    "refunded": pl.Boolean(),
    "job_type": pl.String(),           # PRINT, COPY, SCAN, FAX
    "shared_account": pl.Boolean(),    # charged to an account that is not the user's own
})  # fmt: skip
"""The frame every source gives (`papercut-api.md` 5.1); which rows count is decided elsewhere (5.2)."""

TWINS = pl.Schema({"job_id": pl.String(), "twin": pl.String()})
"""Jobs that may be the same print as another: that job, which was read first."""

RETURNS = pl.Schema({
    "row_id": pl.String(),             # the same at every read of the row
    "stamped_at": pl.Datetime("us", "UTC"),  # of the row: of the print, or of when pages of it were taken back
    "username": pl.String(),
    "printer": pl.String(),
    "pages": pl.Int64(),               # how many, above 0
    "color_pages": pl.Int64(),
    "copies": pl.Int64(),
    "duplex": pl.Boolean(),
    "paper": pl.String(),
})  # fmt: skip
"""Rows that take pages of a print back and do not name it."""

LACKING = pl.Schema({"job_id": pl.String(), "lacked_by": pl.String()})
"""Jobs without a row in a later report of their time, and the name of that report."""

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
        twins: `TWINS`: jobs of `jobs` that nobody can tell from another; not to be charged before a person decided.
        returns: `RETURNS`: what was taken back of prints that the source does not name.
        lacking: `LACKING`: jobs of `jobs` that a person has to look at, because a later report lacks them.
    """

    jobs: pl.DataFrame
    cursor: str
    problems: list[str]
    twins: pl.DataFrame = field(default_factory=TWINS.to_frame)
    returns: pl.DataFrame = field(default_factory=RETURNS.to_frame)
    lacking: pl.DataFrame = field(default_factory=LACKING.to_frame)


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

    @property
    def by_time(self) -> bool:
        """Whether a print is found again by its time, and not by an id of its own."""
        ...

    @property
    def prefixes(self) -> Sequence[str]:
        """What may stand before an id of its own, because its numbers began anew."""
        ...

    def settled(self, batch: JobBatch, stored: pl.DataFrame) -> JobBatch:
        """A batch in which every print has the name that it is stored under.

        Args:
            batch: of this source.
            stored: PrintJobs, the latest revision of the jobs that may be among them.

        Raises:
            UnsafeError: a name stands for another print now.
        """
        ...

    def close(self) -> None:
        """Let go of connections. The source can be used again afterwards."""
        ...


Action = Literal["create", "update", "rename", "adjust", "remove"]


@dataclass(frozen=True)
class Secrets:
    """The PIN and the card number of one customer, on their way from Nexudus to a print system; never stored."""

    pin: str | None = field(default=None, repr=False)
    card: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Change:
    """One row of a plan, as a print system needs it.

    Attributes:
        action: what is to be done.
        username: the name of the user now; for `create` the name it gets.
        new_username: for `rename` the name it becomes.
        coworker_id: the customer whose user it is.
        email: the e-mail to set.
        full_name: the name to set.
        restricted: whether the user must stop at balance 0.
        balance: the balance observed, in credits.
        target: the balance wanted, in credits; None leaves it alone.
        fields: which fields change, for `update` and `rename`.
        reason: why.
        comment: stands beside a change of balance, to say whose it is.
        delete: for `remove`: whether the user goes, or only may not print any more.
    """

    action: Action
    username: str
    new_username: str | None
    coworker_id: int
    email: str
    full_name: str
    restricted: bool
    balance: Decimal
    target: Decimal | None
    fields: tuple[str, ...]
    reason: str
    comment: str = ""
    delete: bool = True


@dataclass(frozen=True)
class Applied:
    """What a print system made of a change that it did not refuse.

    `done` and `unsure` both say that the change itself was made; with `unsure` its balance is to be observed again.
    `partly`: a later part was refused. `held`: the user was not what it was, and nothing was done.
    """

    outcome: Literal["done", "unsure", "partly", "held"]
    detail: str


class Invitation(NamedTuple):
    """One invitation of a person to a print system.

    Attributes:
        id: its id.
        email: who was invited, as a user name.
        state: accepted, open or expired; open and expired mean that the person cannot print yet.
        expires: until when it can be accepted, UTC; None where the system does not say.
    """

    id: str
    email: str
    state: str
    expires: datetime | None


Status = Literal["pass", "warn", "fail"]

NOT_PROVEN = "not proven, look here: "
"""What begins the remedy of a finding that no interface can prove."""


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        check: its number in `rules.md` 2.1, or a word.
        status: pass, warn (not proven, or worth a look) or fail (printbridge would not work, or work wrongly).
        seen: what was seen, with the numbers.
        remedy: where it is put right; empty where nothing is to be done.
        site: the site.
    """

    check: str
    status: Status
    seen: str
    remedy: str = ""
    site: str = ""


@dataclass(frozen=True)
class Setup:
    """What a print system must know of a site to judge its own set-up.

    Attributes:
        username: the form of user names.
        seats: the seats of the licence, 0 where it is not told.
        ours: asks how many of its users are ours.
        wanted: asks how many customers should print.
    """

    username: str
    seats: int
    ours: Callable[[], int]
    wanted: Callable[[], int]


Question = tuple[str, Callable[[], Iterator[Finding]]]
"""A check by its number or word, and what asks it; it may raise what its service raises."""


class PrintSystem(Protocol):
    """One print system of one site. Every method may raise TransientError and ConfigError."""

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def host(self) -> str:
        """The host it is reached at, for messages."""
        ...

    @property
    def holds(self) -> frozenset[Holding]:
        """What it knows of users and jobs; a plan never asks for more (`SiteRules.holds`)."""
        ...

    @property
    def jobs(self) -> JobSource:
        """Its print jobs."""
        ...

    def users(self, known: pl.DataFrame, ask: Callable[[Collection[str]], Collection[str]], at: datetime) -> Read:
        """Its users, complete; one that cannot be read is as it is known, and named.

        Args:
            known: PrintUsers as last observed; a row of it is believed where each user costs a call.
            ask: of the names that are there, those that must be observed again; called only where each costs a call.
            at: start of the read, UTC.

        Returns:
            PrintUsers, without what is carried from one observation to the next (`balances.CARRIED`).
        """
        ...

    def as_kept(self, accounts: pl.DataFrame) -> pl.DataFrame:
        """PrintAccounts with the texts as the system keeps them, so that what it cannot keep is no difference."""
        ...

    def password_length(self) -> int | None:
        """The length to which passwords are padded now; None where it has none. One call."""
        ...

    def ready(self) -> int | None:
        """Find out what must hold before the first PIN, password or card is written.

        Returns:
            `password_length` of now.

        Raises:
            ConfigError: the system is not set up for it; nothing was changed.
        """
        ...

    def apply(self, change: Change, secrets: Secrets) -> Applied:
        """Carry out one change, once.

        Raises:
            RejectedError: refused, nothing was done.
            UnknownOutcomeError: it may have been done; it is never sent again here.
        """
        ...

    def mark(self, username: str, coworker_id: int) -> Applied:
        """Write our mark for a customer to a user that somebody else made, and nothing else; raises as `apply`."""
        ...

    def invitations(self) -> list[Invitation]:
        """Every invitation, by e-mail and the time at which it ends; none where users are made without."""
        ...

    def resend(self, invitation: Invitation) -> Applied:
        """Let the e-mail of an invitation be sent again; raises as `apply`."""
        ...

    def questions(self, setup: Setup) -> list[Question]:
        """Its own questions for `printbridge doctor`; while the first fails, the others would only say the same."""
        ...

    def close(self) -> None:
        """Give back connections."""
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
    amount = amount.quantize(_PLACES)
    if abs(amount) >= _LIMIT:  # it was rounded up to it
        raise ValueError("is not a finite number below 10^12")
    return amount
