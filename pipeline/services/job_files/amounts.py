"""Costs as PaperCut writes them for a reader: `30 Credits`, `$1,234.50`, `1.234,50 €`, `CHF 1'234.50`.

What belongs here: one amount in any locale, and what the other amounts of its file prove about it. What does not: what
an amount costs whom (`domain/money`).

A sign of the currency may stand before or behind; thousands are separated by a comma, a dot, an apostrophe or a space
of any width. An amount such as 1,234 is 1234 to one reader and 1.234 to another. The rule: the file decides. Its other
cells show the decimal sign (2,50 or 1.234,50 show a comma, 2.50 or 1,234,567 a dot), and if they show one and the same,
it holds for that cell too. If they show none or both, the cell is not read. No cell is ever rounded to fit.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from pipeline.services.job_files.cells import Cells
from pipeline.services.printing import as_credits

_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]{1,2})?")
_SIGN_LENGTH = 24  # a currency sign is a short word; more is a text that slipped in from beside
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_UNSEEN = "\u200b\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_SAME = str.maketrans(
    dict.fromkeys(_SPACES, " ")
    | dict.fromkeys(_UNSEEN, "")
    | {"\u2019": "'", "\u02bc": "'", "\u066c": "'", "\u066b": ";", "\u2212": "-", "\ufe63": "-", "\uff0d": "-"}
)
"""One character for each meaning; `;` stands for the Arabic decimal sign, which means nothing else."""

_AMOUNT = re.compile(
    r"(?P<open>\()?(?P<minus1>-)?(?P<before>[^0-9();-]*?)(?P<minus2>-)?(?P<number>(?:^[.,])?[0-9](?:[0-9.,;' ]*[0-9])?)"
    r"(?P<minus3>-)?(?P<behind>[^0-9();-]*)(?P<minus4>-)?(?P<close>\))?"
)
_BAD = "cost is not an amount"


class Amount(NamedTuple):
    """One amount as it stands, before the file has a say.

    Attributes:
        exact: the amount as a decimal number; where it is open, read with its sign as the decimal sign.
        grouped: the amount with that sign between thousands, where it is open; else empty.
        shows: the decimal sign that this amount proves for its file, or empty.
        sign: the sign that is open, or empty.
    """

    exact: str
    grouped: str = ""
    shows: str = ""
    sign: str = ""


class Amounts:
    """Reads the amounts of one file.

    Args:
        cells: all amounts of the file.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._known: dict[str, Decimal | None] = {"": None}

    def __call__(self, text: str) -> Decimal | None:
        """A cost in credits; None where the line has none.

        Raises:
            ValueError: it is no amount, or one that can be read in two ways where the file does not show which.
        """
        if text not in self._known:
            self._known[text] = self._read(text)
        return self._known[text]

    def _read(self, text: str) -> Decimal:
        amount = parsed(text)
        if not amount.sign:
            return as_credits(amount.exact)
        if len(self._shown) != 1:
            proof = "no cell" if not self._shown else "cells of both kinds"
            raise ValueError(
                f"cost can be read in two ways, as thousands or as a fraction, and the file shows {proof} to tell "
                "which; export it with two decimals"
            )
        return as_credits(amount.exact if amount.sign in self._shown else amount.grouped)

    @cached_property
    def _shown(self) -> set[str]:
        """The decimal signs that the cells of the file prove."""
        shown = set[str]()
        for text in set(self._cells()):
            try:
                shown.add(parsed(text.strip()).shows)
            except ValueError:
                continue
        return shown - {""}


def parsed(text: str) -> Amount:
    """What one amount says by itself.

    Raises:
        ValueError: it is none.
    """
    if _PLAIN.fullmatch(text):
        return Amount(text, shows="." if "." in text else "")
    found = _AMOUNT.fullmatch(_western(text.translate(_SAME)).strip())
    if not found or not _is_sign(found["before"]) or not _is_sign(found["behind"]):
        raise ValueError(_BAD)
    minuses = [name for name in ("open", "minus1", "minus2", "minus3", "minus4") if found[name]]
    if len(minuses) > 1 or bool(found["open"]) != bool(found["close"]):
        raise ValueError(_BAD)
    amount = _number(found["number"])
    return _negative(amount) if minuses else amount


def _western(text: str) -> str:
    """Digits of any script as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(letter, letter)) for letter in text)


def _is_sign(text: str) -> bool:
    """Whether a text can be the sign of a currency, such as `Credits`, `R$`, `kr.` or `S/.`."""
    return len(text) <= _SIGN_LENGTH and all(
        letter in "./ '" or unicodedata.category(letter) in {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Sc", "So"}
        for letter in text
    )


def _negative(amount: Amount) -> Amount:
    return amount._replace(exact=f"-{amount.exact}", grouped=amount.grouped and f"-{amount.grouped}")


def _number(text: str) -> Amount:
    """Digits with separators between them."""
    signs = re.findall("[^0-9]", text)
    if not signs:
        return Amount(text)
    last, kinds = signs[-1], set(signs)
    if len(kinds) > 2 or (len(kinds) == 2 and signs.count(last) > 1):
        raise ValueError(_BAD)
    before, _, behind = text.rpartition(last)
    if len(kinds) == 2:  # thousands, then a fraction
        if last not in ".,;":
            raise ValueError(_BAD)
        thousands = (kinds - {last}).pop()
        return Amount(f"{_joined(before, thousands)}.{behind}", shows=last if last != ";" else "")
    if len(signs) > 1 or last in "' ":
        return Amount(_joined(text, last), shows={",": ".", ".": ","}.get(last, ""))
    fraction = Amount(f"{before or '0'}.{behind}", shows=last if last != ";" else "")
    if last == ";" or len(behind) != 3 or not before or before.startswith("0") or len(before) > 3:
        return fraction
    return fraction._replace(grouped=before + behind, shows="", sign=last)


def _joined(text: str, sign: str) -> str:
    """A whole number without what separates its thousands, which may be counted the Indian way: 12,34,567."""
    first, *rest = text.split(sign)
    even = all(len(part) == 3 for part in rest) and 1 <= len(first) <= 3
    indian = len(rest) > 1 and len(rest[-1]) == 3 and all(len(part) == 2 for part in rest[:-1]) and len(first) <= 2
    if not first or first == "0" * len(first) or not (even or indian):
        raise ValueError(_BAD)
    return "".join([first, *rest])
