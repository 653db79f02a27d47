"""The names of people: e-mail key, print user name, password.

What belongs here: what a customer's e-mail and PIN become in PaperCut. What does not: who gets a print user at all
and what would change there (`pipeline.domain.people`).
"""

from __future__ import annotations

import unicodedata
from typing import Literal

import polars as pl

MAX_NAME = 50
"""PaperCut's longest user name (`papercut-api.md` 4.2)."""

MAX_SHOWN = 255
"""How much of a full name is sent: PaperCut's texts hold 255 characters (`papercut-api.md` 4.6)."""

MIN_PASSWORD = 8
"""The shortest password the Bridge allows (`rules.md` S9)."""

LENGTH_KEY = "internal-users.self-registration.min-password-length"
"""PaperCut's setting for its own shortest password."""

# One `@` with something on both sides; no blanks, control or invisible characters; no `/` or `\`, which PaperCut
# forbids in user names.
_ADDRESS = r"^[^@\s\p{Z}\p{Cc}\p{Cf}/\\]+@[^@\s\p{Z}\p{Cc}\p{Cf}/\\]+$"

# Polars lower-cases; in living languages only these two letters fold differently: sharp s, and sigma at a word's end.
_FOLDED = {"\u00df": "ss", "\u03c2": "\u03c3"}


def email_key(column: str | pl.Expr) -> pl.Expr:
    """What makes two e-mails the same: NFKC form, case-folded, trimmed; null where nothing is left.

    Args:
        column: the e-mail, or the name of its column.
    """
    key = _plain(column).str.replace_many(_FOLDED)
    return pl.when(key != "").then(key)


def account_key() -> pl.Expr:
    """The key of the account a customer belongs to: `email_key`, or `#<coworker_id>` without e-mail.

    Reads the columns email_key and coworker_id.
    """
    return pl.coalesce("email_key", pl.format("#{}", "coworker_id"))


def username(form: Literal["email", "user_domain"]) -> pl.Expr:
    """The print user name of column email: lower-cased (U1), or with `_` for `@` where PaperCut cuts names there."""
    name = _plain("email")
    return name if form == "email" else name.str.replace_all("@", "_", literal=True)


def user_name_of(email: str) -> str:
    """One e-mail as a print user name, as `username` makes it of a column."""
    return unicodedata.normalize("NFKC", email).lower().strip()


def shown(column: str) -> pl.Expr:
    """A name as a print system can keep it: without control characters, and at most `MAX_SHOWN` long.

    What is left out would be refused or dropped, and be written again by every run.

    Args:
        column: the name of the column, which keeps it.
    """
    kept = pl.col(column).str.replace_all(r"[\p{Cc}\p{Zl}\p{Zp}]+", " ").str.strip_chars().str.slice(0, MAX_SHOWN)
    return kept.str.strip_chars().alias(column)


def bad_email() -> pl.Expr:
    """Whether column email cannot become a user name in PaperCut (`papercut-api.md` 4.2)."""
    return ~_plain("email").str.contains(_ADDRESS) | (_plain("email").str.len_chars() > MAX_NAME)


def password(pin: str, minimum: int) -> str:
    """The PaperCut password of a PIN: padded on the left with zeros (U9); the PIN itself releases prints.

    Args:
        pin: the PIN as Nexudus has it.
        minimum: PaperCut's shortest allowed password; below 8 counts as 8.
    """
    return pin.rjust(max(minimum, MIN_PASSWORD), "0")


def _plain(column: str | pl.Expr) -> pl.Expr:
    text = pl.col(column) if isinstance(column, str) else column
    return text.str.normalize("NFKC").str.to_lowercase().str.strip_chars()
