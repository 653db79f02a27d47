"""From PaperCut's users to the contract table, and the mark in their notes that says whose they are.

What belongs here: naming and typing what PaperCut answers, whichever way it was asked. What does not: asking
(`client.py`, `database.py`), or any rule about it.

Every value goes through one reading (`pipeline/services/reading.py`). What an odd value stands for:

    user name                           trimmed, lower case; blank, or the name of two users: unreadable
    full name, e-mail, card, notes      as they are; null: blank; a number is its text
    internal, disabled, restricted      true, y, yes, 1 and their opposites in any case; null or blank: no
    balance                             exact to 0.000001; no number, or 10^12 and beyond: unreadable, for as 0 it would
                                        be topped up
    our mark                            a customer id of at most 18 digits; with more it is none of ours
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.services.papercut.wire import flattened
from pipeline.services.reading import LARGEST, OddValueError, Problem, Read, joined, kind, number, problem

Digest = Callable[[str | None], str | None]

USER_PROPERTIES = (
    "full-name", "email", "primary-card-number", "notes", "internal", "disabled-print", "restricted", "balance",
)  # fmt: skip
"""The PaperCut properties that the plan needs (`papercut-api.md` 4.1), in the order that `user_rows` expects."""

USER_COLUMNS = pl.Schema({
    "username": pl.String(),           # lower case
    "full_name": pl.String(),
    "email": pl.String(),
    "card_number": pl.String(),
    "notes": pl.String(),
    "internal": pl.Boolean(),
    "disabled_print": pl.Boolean(),
    "restricted": pl.Boolean(),        # of the first personal account
    "balance": pl.Decimal(18, 6),      # credits, all personal accounts together
})  # fmt: skip
"""The columns of PaperCut's users, whichever way they were asked for."""

_FLAGS = {
    "true": True, "y": True, "yes": True, "1": True, "false": False, "n": False, "no": False, "0": False, "": False,
}  # fmt: skip
_PLACES = Decimal("0.000001")


def flat(column: str) -> pl.Expr:
    """A column of texts, each `flattened`."""
    text = (
        pl.col(column)
        .str.replace_all(r"[\x{10000}-\x{10FFFF}]+", "?")
        .str.replace_all(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{FFFE}\x{FFFF}]", " ")
    )
    return pl.when(text.str.strip_chars() != "").then(text).when(text.is_not_null()).then(pl.lit("")).alias(column)


def mark(site: str, coworker_id: int) -> str:
    """The text in PaperCut's notes that says a user is ours, and whose."""
    return f"printbridge:{site}:{coworker_id}"


def marked_notes(notes: str, site: str, coworker_id: int) -> str:
    """Notes with our mark: in place of an earlier one of the site, else behind the text that is there.

    Notes that have it already stay as they are; others come `flattened`, as PaperCut will have them.
    """
    ours = mark(site, coworker_id)
    text, found = re.subn(rf"printbridge:{site}:[0-9]+\b", ours, notes)
    if not found:
        text = f"{notes.rstrip()} {ours}".strip()
    return notes if text == notes else flattened(text)


def read_users(usernames: Sequence[str], answers: Sequence[Mapping[str, object]]) -> Read:
    """Property answers of PaperCut (texts) as USER_COLUMNS, and the users that cannot be read.

    Args:
        usernames: the users asked for.
        answers: for each of them, the texts of USER_PROPERTIES.
    """

    def row(name: str, answer: Mapping[str, object]) -> tuple[Any, ...]:
        return (
            user_name(name),
            *(user_text(answer[field], field) for field in USER_PROPERTIES[:4]),
            *(user_flag(answer[field], field) for field in USER_PROPERTIES[4:7]),
            user_balance([answer["balance"]], "balance"),
        )

    return users_of((name, lambda name=name, answer=answer: row(name, answer))
                    for name, answer in zip(usernames, answers, strict=True))  # fmt: skip


def user_rows(usernames: Sequence[str], answers: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """As `read_users`, for those who need every user. Raises PermanentError where one cannot be read."""
    return read_users(usernames, answers).whole()


def users_of(readings: Iterable[tuple[object, Callable[[], tuple[Any, ...]]]]) -> Read:
    """Users as USER_COLUMNS by name, and those that cannot be read: among them those who share a name.

    Args:
        readings: for each user its name or id, and what gives its row.
    """
    rows: list[tuple[Any, ...]] = []
    problems: list[Problem] = []
    for name, reading in readings:
        try:
            rows.append(reading())
        except (OddValueError, KeyError) as error:
            problems.append(problem(str(name).strip().lower(), error))
    taken = Counter(row[0] for row in rows)
    twins = {name for name, count in taken.items() if count > 1}
    problems += [problem(name, OddValueError("user name", f"stands for {taken[name]} users")) for name in sorted(twins)]
    frame = pl.DataFrame([row for row in rows if row[0] not in twins], schema=USER_COLUMNS, orient="row")
    return Read(frame.sort("username"), problems)


def user_name(value: object) -> str:
    """A user name as PaperCut keeps it: lower case."""
    if not isinstance(value, str) or not value.strip():
        raise OddValueError("user name", "is blank" if isinstance(value, str) else f"is {kind(value)}")
    if joined(value) != value:
        raise OddValueError("user name", "holds half a character")
    return value.strip().lower()


def user_text(value: object, field: str) -> str:
    """A text of a user, as PaperCut has it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value if value.isprintable() else joined(value)
    if type(value) is int or isinstance(value, float | Decimal):
        return str(value)
    raise OddValueError(field, f"is {kind(value)} where a text belongs")


def user_flag(value: object, field: str) -> bool:
    """A yes or no of a user: of the web services (`true`), or of the database (`Y`)."""
    form = "" if value is None else str(value).strip().lower() if isinstance(value, str | bool | int) else None
    found = None if form is None else _FLAGS.get(form)
    if found is None:
        raise OddValueError(field, f"is {kind(value)} where yes or no belongs")
    return found


def user_balance(values: Iterable[object], field: str) -> Decimal:
    """The sum of the balances of a user's accounts."""
    total = Decimal(0)
    for value in values:
        found = number(value)
        if found is None:
            raise OddValueError(field, "is no number below 10^12")
        total += found.quantize(_PLACES)
    if abs(total) >= LARGEST:
        raise OddValueError(field, "is no number below 10^12")
    return total


def papercut_users_of(rows: pl.DataFrame, site: str, digest: Digest, observed_at: datetime) -> pl.DataFrame:
    """PaperCut's users as PrintUsers: cards become digests, and of the notes only our mark is kept.

    Args:
        rows: the columns of USER_COLUMNS.
        site: the site whose mark counts.
        digest: makes the keyed digest of a card number.
        observed_at: start of the read, UTC.
    """
    cards = {card: digest(card) for card in rows["card_number"].drop_nulls().unique()}
    marked = pl.col("notes").str.extract(rf"printbridge:{site}:([0-9]{{1,18}})\b").cast(pl.Int64)
    return rows.select(
        pl.lit(site).alias("site"),
        pl.col("username").str.to_lowercase(),
        pl.col("full_name").fill_null(""),
        pl.col("email").fill_null(""),
        "balance",
        "restricted",
        pl.col("disabled_print").alias("disabled"),
        "internal",
        marked.is_not_null().alias("marked"),
        marked.alias("marked_coworker_id"),
        pl.col("card_number").replace_strict(cards, default=None, return_dtype=pl.String).alias("card_digest"),
        pl.lit(None, pl.String).alias("remote_id"),
        pl.lit(observed_at, dtype=pl.Datetime("us", "UTC")).alias("observed_at"),
    ).sort("username")
