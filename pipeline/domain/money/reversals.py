"""Reversals and what replaces a charge: which of the two comes first, and what stands where a person refused one.

What belongs here: which lines of a job stand, which wait for its reversals, and what takes back a line that was never
sent. What does not: when a job is reversed (`charges.py`), and the reversal itself (`pipeline.effects`).

One job is billed once: what replaces a charge is sent only when the charge is gone. A reversal that a person refuses
leaves its charge standing; what was to replace it is taken back, and only what then lacks is decided anew.
"""

from __future__ import annotations

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.references import references

ORIGINALS = ("sale", "credit", "waive")
"""The kinds of the lines that a reversal can reverse."""

TAKEN_BACK, RETRIED = "charge_stays", "retried"
"""Why a line that was never sent is taken back: what it was to replace stays, or a person lets it be decided again."""

_SETTLED = ("confirmed", "void")
_UNSENT = ("priced", "held")


def live(ledger: pl.DataFrame) -> pl.DataFrame:
    """The sale, credit and waive lines that stand: neither void nor reversed. Columns as the ledger's."""
    return standing(ledger).filter(pl.col("stands") == "live").select(ledger.columns)


def carried_out(ledger: pl.DataFrame) -> pl.DataFrame:
    """The lines as Nexudus has them by now: a charge stands until its reversal is done, and what replaces it waits.

    Args:
        ledger: all lines of some jobs, as for `waiting`.

    Returns:
        The rows of ledger, without the reversals that are neither done nor refused, and the lines that wait for one.
    """
    pending = pl.col("undoes").is_not_null() & ~pl.col("state").is_in(_SETTLED)
    return ledger.filter(~pending).join(waiting(ledger), on="ref", how="anti")


def standing(ledger: pl.DataFrame) -> pl.DataFrame:
    """The original lines, each with `stands` and `kept`.

    stands: live; undone, where a reversing line exists; voided, where a person voided it without one. A reversal that
    was itself voided, while its line was not, was refused by a person: the line stays live and is `kept` from then on.
    """
    undo = ledger.select(ref="undoes", undo_state="state")
    void = pl.col("state") == "void"
    return (
        ledger.filter(pl.col("kind").is_in(ORIGINALS))
        .join(undo, on="ref", how="left")
        .with_columns(kept=~void & pl.col("undo_state").eq_missing("void"))
        .with_columns(
            stands=pl.when(pl.col("undo_state").is_not_null() & ~pl.col("kept"))
            .then(pl.lit("undone"))
            .when(void)
            .then(pl.lit("voided"))
            .otherwise(pl.lit("live"))
        )
    )


def reopened(ledger: pl.DataFrame) -> pl.DataFrame:
    """The jobs of which a person let a line be taken back, so that what they cost is decided again.

    Args:
        ledger: as for `standing`, and revision, rule, coworker_id, email_key.

    Returns:
        job_id; reopened_at: the revision of the newest such line; reopened_coworker_id and reopened_email_key: whose it
        was; asked_amount: its cents; asked: the rules that held as many, where the person let it be decided again.
    """
    back = ledger.filter(pl.col("rule").is_in([TAKEN_BACK, RETRIED])).select(ref="undoes", why="rule")
    amount = pl.col("amount_cents")
    return (
        ledger.join(back, on="ref")
        .sort("revision", "seq", "ref")
        .group_by("job_id")
        .agg(
            pl.col("coworker_id", "email_key").last().name.prefix("reopened_"),
            reopened_at=pl.col("revision").last(),
            asked=pl.col("rule").filter(pl.col("why") == RETRIED, amount == amount.last()),
            asked_amount=amount.last(),
        )
    )


def overruled(rule: str) -> pl.Expr:
    """Whether a person let the job be decided again although this rule held it; from the column asked of `reopened`."""
    return pl.col("asked").list.contains(rule).fill_null(value=False)


def waiting(lines: pl.DataFrame) -> pl.DataFrame:
    """The new lines that wait for reversals of the same job, each with every reversal that it waits for.

    Args:
        lines: all lines of some jobs of one site: ref, job_id, revision, undoes, state.

    Returns:
        ref, waits_for: a priced or held line, and a reversal that is neither done nor refused.
    """
    pending = lines.filter(pl.col("undoes").is_not_null() & ~pl.col("state").is_in(_SETTLED))
    return _replacing(lines.filter(pl.col("state").is_in(_UNSENT)), pending)


def replacing(lines: pl.DataFrame, reversal: str) -> pl.DataFrame:
    """The standing lines that were decided in place of what one reversal takes away.

    Args:
        lines: all lines of the job, as for `waiting`, and kind.
        reversal: the reference of the reversal.

    Returns:
        The rows of lines; a line that has itself been reversed, or is void, is not among them.
    """
    undone = lines.filter(pl.col("state") != "void")["undoes"]
    standing = lines.filter(~pl.col("ref").is_in(undone.implode()) & (pl.col("state") != "void"))
    found = _replacing(standing, lines.filter(pl.col("ref") == reversal))
    return lines.join(found.select("ref"), on="ref", how="semi")


def taken_back(lines: pl.DataFrame, rule: str) -> pl.DataFrame:
    """The reversing lines for lines that were never sent: nothing is left to do for either of the two.

    Args:
        lines: PrintCharges with the current state, of kind sale, credit or waive.
        rule: why: TAKEN_BACK or RETRIED.

    Returns:
        PrintCharges, priced where the line is priced or held, confirmed for what was waived.
    """
    back = lines.with_columns(
        kind="undo_" + pl.col("kind"),
        undoes="ref",
        state=pl.when(pl.col("kind") == "waive").then(pl.lit("confirmed")).otherwise(pl.lit("priced")),
        rule=pl.lit(rule),
        reason=pl.lit(None, pl.String),
    )
    return back.with_columns(ref=references(back)).select(tables.columns("print_charges").names())


def _replacing(lines: pl.DataFrame, reversals: pl.DataFrame) -> pl.DataFrame:
    """ref, waits_for: the originals that were decided when their job was reversed, or later."""
    since = reversals.select("job_id", "undoes", waits_for="ref", since="revision")
    return (
        lines.filter(pl.col("undoes").is_null())
        .select("ref", "job_id", "revision")
        .join(since, on="job_id")
        .filter((pl.col("ref") != pl.col("undoes")) & (pl.col("revision") >= pl.col("since")))
        .select("ref", "waits_for")
    )
