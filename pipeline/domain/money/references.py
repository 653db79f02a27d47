"""References: the name of a ledger line in Nexudus, a pure function of site, job, kind and sequence.

What belongs here: building and recognising references. What does not: looking them up. A reference never holds a time,
an amount or an attempt, so a lost, restored or repriced ledger finds again what it has already charged (design 5).

A reference is 20 characters of A-Z, 0-9 and `-`:

    PB- Q7K S 00000012345 0 X
        |   | |           | check character
        |   | |           sequence among the lines of this kind for the job, base 36
        |   | job: the row id in PaperCut's log, or the name of a print in files
        |   kind: S sale, C credit, W waive, R undo_sale, G undo_credit, V undo_waive
        site: three characters that stand for the site's name
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from pipeline.domain.rules import SiteRules

KIND_LETTERS = {"sale": "S", "credit": "C", "waive": "W", "undo_sale": "R", "undo_credit": "G", "undo_waive": "V"}
JOB_LENGTH = 11

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CHECK = "ABCDEFGHJKLMNPQRSTUVWXYZ23456"
PATTERN = re.compile(r"PB-[A-Z2-7]{3}[SCWRGV][0-9A-Z]{11}[0-9A-Z][A-HJ-NP-Z2-6]")
"""A reference anywhere in a text; `found_in` also proves the check character."""


def site_code(site: str) -> str:
    """Three characters that stand for a site's name."""
    number = int.from_bytes(hashlib.blake2b(site.encode(), digest_size=2).digest()) & 0x7FFF
    return "".join(_BASE32[(number >> shift) & 31] for shift in (10, 5, 0))


def code_of(rules: SiteRules) -> str:
    """The three characters of a site in its references: those it was given, else those of its name."""
    return rules.code or site_code(rules.name)


def references(frame: pl.DataFrame, codes: Mapping[str, str] | None = None) -> pl.Series:
    """The references of ledger lines.

    Args:
        codes: the code of each site that has another than that of its name.
        frame: columns site, job_id (at most 11 of 0-9 and A-Z), kind (of `KIND_LETTERS`), seq (0 to 35).

    Raises:
        polars.exceptions.PolarsError: a value does not fit.
    """
    # Few heads, paddings and tails are written out once, so that for a million lines only numbers are mapped.
    sites = frame["site"].unique().to_list() or [""]
    given = codes or {}
    heads = [(given.get(site) or site_code(site)) + letter for site in sites for letter in KIND_LETTERS.values()]
    parts = frame.select(
        "job_id",
        pl.col("seq").cast(pl.Int64),
        code=_numbered("site", sites) * len(KIND_LETTERS) + _numbered("kind", KIND_LETTERS),
        zeros=JOB_LENGTH - pl.col("job_id").str.len_chars().cast(pl.Int64),
    )
    if parts.filter(pl.col("zeros") < 0).height:
        raise pl.exceptions.InvalidOperationError(f"a job id is longer than {JOB_LENGTH} characters")
    weights = [int(head, 36) * 7 for head in heads]
    job = pl.col("job_id").str.to_integer(base=36, dtype=pl.Int64)
    check = (_mapped("code", weights, pl.Int64) + job * 3 + pl.col("seq")) % len(_CHECK)
    return (
        parts.with_columns(check=check)
        .select(
            "job_id",
            head=pl.col("code") * (JOB_LENGTH + 1) + pl.col("zeros"),
            tail=pl.col("seq") * len(_CHECK) + pl.col("check"),
        )
        .select(
            pl.concat_str(
                _mapped("head", [f"PB-{code}{'0' * zeros}" for code in heads for zeros in range(JOB_LENGTH + 1)]),
                "job_id",
                _mapped("tail", [digit + check for digit in _DIGITS for check in _CHECK]),
            ).alias("ref")
        )
        .to_series()
    )


def reference(site: str, job_id: str, kind: str, seq: int) -> str:
    """The reference of one ledger line."""
    return references(pl.DataFrame({"site": [site], "job_id": [job_id], "kind": [kind], "seq": [seq]}))[0]


def found_in(text: str | None) -> str | None:
    """The reference that stands in a text, if one with a right check character does."""
    match = PATTERN.search(text or "")
    if not match:
        return None
    ref = match.group()
    head, job, seq, check = ref[3:7], ref[7:18], ref[18], ref[19]
    expected = (int(head, 36) % 29 * 7 + int(job, 36) % 29 * 3 + int(seq, 36)) % 29
    return ref if _CHECK[expected] == check else None


def _numbered(column: str, values: Iterable[str]) -> pl.Expr:
    """The place of each value of a column among `values`."""
    return pl.col(column).replace_strict({value: place for place, value in enumerate(values)}, return_dtype=pl.Int64)


def _mapped(column: str, values: Sequence[object], dtype: type[pl.DataType] = pl.String) -> pl.Expr:
    """The value at each place of a column."""
    return pl.col(column).replace_strict(dict(enumerate(values)), return_dtype=dtype)
