"""The tables at the end of the demo: what became of the users, the jobs and the money of a month, site by site.

What belongs here: counting what the warehouse holds, and the tables. What does not: living through the month
(`demo.py`). Every number is read; none is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline.domain.jobs import latest
from pipeline.domain.money import attribution, reversals
from pipeline.site import Site
from pipeline.store import ownership
from pipeline.store.lines import lines_of_site
from pipeline.store.sql import read


def print_tables(console: Console, sites: Sequence[Site]) -> int:
    """Print the tables of some sites; returns the unexplained difference of all of them in cents."""
    names, books = [site.name for site in sites], [_reconciliation(site) for site in sites]
    _print_table(console, "Users", names, [_users(site) for site in sites])
    _print_table(console, "Jobs (amounts in credits and cents)", names, [_jobs(site) for site in sites])
    _print_table(console, "Reconciliation, in cents", names, books)
    return sum(int(site["unexplained difference"]) for site in books)


def _print_table(console: Console, title: str, sites: Sequence[str], columns: Sequence[Mapping[str, str]]) -> None:
    """One column per site, one row for everything that any of them counts."""
    table = Table("", *sites, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "0") for column in columns))
    console.print(table)


def _users(site: Site) -> dict[str, str]:
    """What was done to the print users of a site in the month, and who is left out now."""
    done = site.store.read("print_user_sync", site.key).filter(pl.col("outcome") == "done")
    counts = dict(done.group_by("action").len().iter_rows())
    words = {
        "create": "created", "update": "updated", "rename": "renamed", "adjust": "balance adjusted", "remove": "removed"
    }  # fmt: skip
    left_out = site.store.read("print_accounts", site.key).drop_nulls("reason")
    reasons = left_out.group_by("reason").len().sort("reason").iter_rows()
    told = {word: str(counts.get(action, 0)) for action, word in words.items()}
    return told | {f"left out: {reason.replace('_', ' ')}": str(number) for reason, number in reasons}


def _jobs(site: Site) -> dict[str, str]:
    """What became of the print jobs of a site: how many, and their amount."""
    rules = site.rules
    with site.store.connect() as con:
        jobs = latest(read(con, "print_jobs", site.key))
        lines = lines_of_site(con, site.key)
        names = ownership.names(con, site.key)
    stand, held = reversals.live(lines), pl.col("state") == "held"
    groups = {
        "charged": stand.filter((pl.col("kind") == "sale") & ~held),
        "paid by credit": stand.filter((pl.col("kind") == "credit") & ~held),
        "free": stand.filter((pl.col("kind") == "waive") & ~held),
        "held": stand.filter(held),
        "given back": lines.filter(pl.col("undoes").is_not_null()),
    }
    told = {name: f"{group['job_id'].n_unique()} ({group['amount_cents'].sum()})" for name, group in groups.items()}
    others = attribution.unattributed(jobs, names, rules)
    told["of staff and others"] = f"{others.height} ({others['cost'].sum() or 0:.0f})"
    told["refunded"] = str(jobs.filter("refunded").height)
    told["refused"] = str(jobs.filter(~pl.col("allowed")).height)
    told["never released"] = str(jobs.filter(pl.col("allowed") & ~pl.col("printed")).height)
    return told | {"jobs in all": str(jobs.height)}


def _reconciliation(site: Site) -> dict[str, str]:
    """The sums of a site over all its days."""
    frame = site.store.read("reconciliation", site.key)
    told = {"days": str(frame["day"].n_unique()), "jobs": str(frame.height)}
    sums = {
        "printed": "printed_cents", "ledger": "ledger_cents", "of it money": "sale_cents",
        "money in Nexudus": "nexudus_cents", "explained difference": "explained_cents",
        "unexplained difference": "unexplained_cents",
    }  # fmt: skip
    return told | {name: str(frame[column].sum()) for name, column in sums.items()}
