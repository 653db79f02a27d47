"""PaperCut's own database: print jobs by id, and users with their balances (`papercut-api.md` 5.1).

What belongs here: the queries, one text for PostgreSQL, MySQL and MariaDB, SQL Server and Oracle, and the frames they
become. What does not: connections and their failures (`server.py`), the Web Services API (`clients/papercut.py`), and
deciding which jobs or users matter. Nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from pipeline.domain.money.references import JOB_LENGTH
from pipeline.errors import UnsafeError
from pipeline.services.papercut import refunds
from pipeline.services.papercut.records import USER_COLUMNS, user_balance, user_flag, user_name, user_text, users_of
from pipeline.services.papercut.server import Server
from pipeline.services.printing import JOB_COLUMNS, SLACK_DAYS, JobBatch, as_credits, utc
from pipeline.services.reading import Read

__all__ = ["JOBS", "LOOK_BACK", "NEWEST", "TABLES", "USERS", "USER_COLUMNS", "PaperCutDatabase"]

LOOK_BACK = 5_000
"""Ids read again each time: an id can become visible after a higher one (`money-safety.md` 3.4)."""

LARGEST_JOB = 10**JOB_LENGTH - 1
"""The highest id that a reference can hold. A row with a higher one is named, and never the cursor."""


def _table(name: str, *columns: str) -> sa.TableClause:
    named: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns]
    return sa.table(name, *named)


# Lower-case names stay unquoted, so Oracle reads them as its upper-case ones.
_LOG = _table(
    "tbl_printer_usage_log",
    "printer_usage_log_id", "usage_date", "used_by_user_id", "charged_to_account_id", "printer_id", "total_pages",
    "total_color_pages", "copies", "duplex", "usage_cost", "usage_allowed", "printed", "refunded", "job_type",
    "original_usage_cost", "refund_status",
)  # fmt: skip
_USER = _table(
    "tbl_user",
    "user_id", "user_name", "full_name", "email", "card_number", "notes", "internal", "disabled_printing", "deleted",
)  # fmt: skip
_USER_ACCOUNT = _table("tbl_user_account", "user_id", "account_id")
_ACCOUNT = _table("tbl_account", "account_id", "account_type", "balance", "restricted")
_PRINTER = _table("tbl_printer", "printer_id", "printer_name")
TABLES = (_LOG, _USER, _USER_ACCOUNT, _ACCOUNT, _PRINTER, refunds.TRANSACTION)

_ID = _LOG.c.printer_usage_log_id

NEWEST = sa.select(sa.func.max(_ID), sa.func.count()).where(
    sa.select(sa.func.max(_ID) - LOOK_BACK).where(_ID <= LARGEST_JOB).scalar_subquery() < _ID, _ID <= LARGEST_JOB
)
"""The highest id, and how many rows the look-back window holds: a row that becomes visible late changes the count."""

JOBS = sa.select(
    _ID.label("job_id"),
    _LOG.c.usage_date.label("printed_at"),
    _USER.c.user_name.label("username"),
    _PRINTER.c.printer_name.label("printer"),
    _LOG.c.total_pages.label("pages"),
    _LOG.c.total_color_pages.label("color_pages"),
    _LOG.c.copies,
    _LOG.c.duplex,
    _LOG.c.usage_cost.label("cost"),
    _LOG.c.usage_allowed.label("allowed"),
    _LOG.c.printed,
    _LOG.c.refunded,
    _LOG.c.job_type,
    _ACCOUNT.c.account_type.label("shared_account"),
    _LOG.c.charged_to_account_id.label("account_id"),
    _LOG.c.original_usage_cost.label("original_cost"),
    _LOG.c.refund_status,
).select_from(
    _LOG.outerjoin(_USER, _USER.c.user_id == _LOG.c.used_by_user_id)
    .outerjoin(_PRINTER, _PRINTER.c.printer_id == _LOG.c.printer_id)
    .outerjoin(_ACCOUNT, _ACCOUNT.c.account_id == _LOG.c.charged_to_account_id)
)

USERS = (
    sa.select(
        _USER.c.user_id,
        *(_USER.c[name] for name in ("user_name", "full_name", "email", "card_number", "notes", "internal")),
        _USER.c.disabled_printing,
        _ACCOUNT.c.account_type,
        _ACCOUNT.c.restricted,
        _ACCOUNT.c.balance,
    )
    .select_from(
        _USER.outerjoin(
            _USER_ACCOUNT.join(
                _ACCOUNT,
                sa.and_(_ACCOUNT.c.account_id == _USER_ACCOUNT.c.account_id, _ACCOUNT.c.account_type.like("USER%")),
            ),
            _USER_ACCOUNT.c.user_id == _USER.c.user_id,
        )
    )
    .where(_USER.c.deleted == "N")
)
"""One row per user and personal account; a user without an account still has a row."""


class PaperCutDatabase:
    """A `JobSource` over PaperCut's external database, which also observes all users in one query."""

    def __init__(self, uri: str, *, uri_env: str, timezone: str, since: datetime, epoch: int = 0) -> None:
        """Prepare, without connecting.

        Args:
            uri: a SQLAlchemy address.
            uri_env: the name of the variable it came from, for messages.
            timezone: of the PaperCut server; its dates carry no zone.
            since: the lowest date worth reading (aware). It bounds only the first read.
            epoch: how often its ids began anew; the letter of the last goes before an id that was another job's.

        Raises:
            ConfigError: the address cannot be understood or its driver is not installed.
        """
        self._uri_env = uri_env
        self._timezone = timezone
        self._since = since
        self.prefixes = tuple(chr(ord("A") + turn) for turn in range(epoch))
        self._server = Server(uri, uri_env=uri_env, tables=TABLES)

    def newest(self) -> str:
        """The highest job id and the number of rows near it, in one query."""
        return self._server.ask(_position)

    def read(self, cursor: str | None) -> JobBatch:
        """Jobs by id from `LOOK_BACK` below the cursor on; without a cursor, by date from `since` on.

        Raises:
            UnsafeError: the ids started again, or the cursor belongs to another kind of source.
        """
        last = _last_id(cursor)
        chosen = JOBS.where(last - LOOK_BACK < _ID) if cursor else JOBS.where(self._from(self._since, SLACK_DAYS))

        def read(connection: sa.Connection) -> JobBatch:
            position = _position(connection)  # before the rows: what arrives in between comes at the next read
            highest = _last_id(position)
            if 0 < highest < last:
                raise _numbers_restarted(highest, last)
            # PaperCut may have removed all old rows; the ids go on, so the last one is not forgotten.
            return _batch(connection, chosen, self._timezone, position if highest else f"{last}/0")

        return self._server.ask(read)

    def reread(self, since: datetime) -> JobBatch:
        """Jobs printed at or after `since`, in the server's local time; the cursor is empty."""
        chosen = JOBS.where(self._from(since, 0))
        return self._server.ask(lambda connection: _batch(connection, chosen, self._timezone, ""))

    def read_users(self) -> Read:
        """Every user that is not deleted, as `USER_COLUMNS`, and those that cannot be read.

        Template entries (`!!...!!`) are left out.
        """
        return _users(self._server.ask(lambda connection: connection.execute(USERS).all()))

    by_time = False

    def settled(self, batch: JobBatch, stored: pl.DataFrame) -> JobBatch:
        """The batch, once each of its ids still stands for the print that it stood for when it was first seen.

        Raises:
            UnsafeError: an id stands for a print of another time now.
        """
        was = stored.select("job_id", was="printed_at")
        other = batch.jobs.join(was, on="job_id").filter(pl.col("printed_at") != pl.col("was")).sort("job_id")
        if other.is_empty():
            return batch
        if not self.prefixes:
            raise _reused(other)
        known = pl.concat(
            was.filter(pl.col("job_id").str.starts_with(letter)).select(
                "was", job_id=pl.col("job_id").str.strip_prefix(letter), name="job_id"
            )
            for letter in self.prefixes
        )
        new = pl.when(pl.col("job_id").is_in(other["job_id"].implode())).then(self.prefixes[-1] + pl.col("job_id"))
        named = batch.jobs.join(known, left_on=["job_id", "printed_at"], right_on=["job_id", "was"], how="left")
        return replace(batch, jobs=named.with_columns(job_id=pl.coalesce("name", new, "job_id")).drop("name"))

    def users(self) -> pl.DataFrame:
        """As `read_users`, for those who need every user. Raises PermanentError where one cannot be read."""
        return self.read_users().whole()

    def close(self) -> None:
        """Close the connection."""
        self._server.engine.dispose()

    def _from(self, since: datetime, slack_days: int) -> sa.ColumnElement[bool]:
        local = since.astimezone(ZoneInfo(self._timezone)).replace(tzinfo=None)
        return _LOG.c.usage_date >= local - timedelta(days=slack_days)


def _position(connection: sa.Connection) -> str:
    highest, count = connection.execute(NEWEST).one()
    return f"{int(highest or 0)}/{count}"


def _last_id(cursor: str | None) -> int:
    if not cursor:
        return 0
    last, _, count = cursor.partition("/")
    if last.isdecimal() and count.isdecimal():
        return int(last)
    raise UnsafeError(
        "The print jobs of this site were last read from files, and now from a database, which names every job anew: "
        "jobs already charged would be charged again",
        "put jobs.source back; to change it for good, begin a new site in bridge.toml with charge_from at the change",
    )


def _numbers_restarted(highest: int, last: int) -> UnsafeError:
    return UnsafeError(
        f"The newest print job in PaperCut's database has the id {highest:,}, but {last:,} was read before: the "
        "database was replaced or restored from a backup, and its next jobs get ids of jobs already charged",
        "if the old database comes back, just wait; if the new one stays, begin a new site in bridge.toml with "
        "charge_from at the moment of the change",
    )


def _reused(jobs: pl.DataFrame) -> UnsafeError:
    first = jobs.row(0, named=True)
    return UnsafeError(
        f"{jobs.height} rows of PaperCut's log are of another time than when they were first read, first row"
        f" {first['job_id']}: {first['was']:%Y-%m-%d %H:%M:%S} UTC then, {first['printed_at']:%Y-%m-%d %H:%M:%S} now."
        " Either the site's timezone was changed, or the database was restored and gives its numbers to new jobs, which"
        " would be taken for jobs already charged; nothing was read",
        "put timezone back in bridge.toml if it was changed; if the database was restored, run `printbridge site"
        " renumber` for this site, which gives the new jobs names of their own",
    )


def _batch(connection: sa.Connection, chosen: sa.Select[*tuple[Any, ...]], timezone: str, cursor: str) -> JobBatch:
    """The chosen rows of `JOBS` as `JOB_COLUMNS`, and the rows that cannot be read."""
    columns = refunds.settle(connection, _columns(JOBS, connection.execute(chosen).all()))
    costs = [_credits(value) for value in columns["cost"]]
    numbers = {name: dtype for name, dtype in JOB_COLUMNS.items() if dtype == pl.Int64}
    exact = {"job_id": pl.Int64(), "printed_at": pl.Datetime("us"), "cost": JOB_COLUMNS["cost"]}
    raw = pl.DataFrame(
        {**columns, "cost": costs}, schema={**dict.fromkeys(columns, pl.String()), **numbers, **exact}, strict=False
    )
    lost = [given is not None and cost is None for given, cost in zip(columns["cost"], costs, strict=True)]
    raw = raw.with_columns(
        problem=pl.when((pl.col("job_id") > LARGEST_JOB) | pl.col("job_id").is_null())
        .then(pl.lit(f"the id is no number of at most {JOB_LENGTH} digits, so no reference can name the job"))
        .when(pl.Series(lost, dtype=pl.Boolean))
        .then(pl.lit("usage_cost is not a finite number"))
        .when(pl.col("printed_at").is_null())
        .then(pl.lit("usage_date is not a date"))
    )
    raw = raw.sort("job_id")
    bad = raw.filter(pl.col("problem").is_not_null()).select("job_id", "problem")
    jobs = raw.filter(pl.col("problem").is_null()).select(
        pl.col("job_id").cast(pl.String),
        utc(pl.col("printed_at"), timezone),
        pl.col("username").fill_null("").str.to_lowercase(),
        pl.col("printer").fill_null(""),
        *(pl.col(name).fill_null(0) for name in numbers),
        _is_yes("duplex"),
        pl.lit(None, JOB_COLUMNS["paper"]).alias("paper"),
        "cost",
        *(_is_yes(flag) for flag in ("allowed", "printed", "refunded")),
        # Without a type a job must have printed to count, the stricter of the two rules in `papercut-api.md` 5.2.
        pl.col("job_type").fill_null("PRINT").str.to_uppercase(),
        ~pl.col("shared_account").fill_null("USER").str.to_uppercase().str.starts_with("USER"),
    )
    return JobBatch(jobs, cursor, [f"{_LOG.name}, {_ID.name} {number}: {reason}" for number, reason in bad.iter_rows()])


def _columns(query: sa.Select[*tuple[Any, ...]], rows: Sequence[sa.Row[*tuple[Any, ...]]]) -> dict[str, list[Any]]:
    return {name: [row[at] for row in rows] for at, name in enumerate(query.selected_columns.keys())}


def _users(rows: Sequence[sa.Row[*tuple[Any, ...]]]) -> Read:
    """Rows of `USERS` as `USER_COLUMNS`: one per user, balances added up."""
    people: dict[Any, list[Any]] = {}
    for row in rows:
        if not str(row.user_name).startswith("!!"):
            people.setdefault(row.user_id, []).append(row)
    return users_of((accounts[0].user_name, partial(_user, accounts)) for accounts in people.values())


def _user(accounts: list[Any]) -> tuple[Any, ...]:
    """One user, from a row for each personal account; a server with several may have no plain `USER` among them."""
    first = min(accounts, key=lambda row: str(row.account_type or "").upper())
    return (
        user_name(first.user_name),
        *(user_text(getattr(first, name), name) for name in ("full_name", "email", "card_number", "notes")),
        *(user_flag(getattr(first, name), name) for name in ("internal", "disabled_printing", "restricted")),
        user_balance([row.balance or 0 for row in accounts], "balance"),
    )


def _is_yes(flag: str) -> pl.Expr:
    return pl.col(flag).str.strip_chars().str.to_uppercase().eq_missing("Y").alias(flag)


def _credits(value: float | Decimal | None) -> Decimal | None:
    try:
        return None if value is None else as_credits(value)
    except ValueError:
        return None
