"""Changes that change nothing: no test can notice them, and the score counts them as missed all the same.

What belongs here: such changes that trials have found, each with its reason. What does not: changes that are left out
by rule (`changes.py`), and guards that can go: those are taken out of the product.
"""

from __future__ import annotations

from typing import NamedTuple


class Equivalent(NamedTuple):
    """On a line with this text, `right` may as well be `wrong`."""

    path: str
    line: str
    right: str
    wrong: str


MONEY, PEOPLE, STORE = "pipeline/domain/money", "pipeline/domain/people", "pipeline/store"

EQUIVALENT: dict[Equivalent, str] = {
    Equivalent(
        f"{MONEY}/lookup.py",
        'wanted=pl.format("{} cents for customer {}", pl.col("amount_cents").first(), pl.col("coworker_id").first()),',
        "first", "last",
    ): "all rows of a reference have the amount and the customer of its line",
    Equivalent(
        f"{MONEY}/lookup.py",
        'seen=pl.format("sale {}: {} cents for customer {}", "remote_id", "quantity", "sold_to").drop_nulls(),',
        ".drop_nulls()", "",
    ): "the texts are joined without the empty ones",
    Equivalent(
        f"{MONEY}/charges.py",
        'places = used.filter(pl.col("credit_id").is_in(large["credit_id"].implode()))["place"].unique().implode()',
        ".unique()", "",
    ): "they are looked for in a list, where twice is once",
    Equivalent(
        f"{MONEY}/charges.py",
        'given_back = undone.filter((pl.col("kind") == "undo_credit") & ~pl.col("was_held"))',
        '(pl.col("kind") == "undo_credit") & ~pl.col("was_held")', '(~pl.col("was_held"))',
    ): "what is no credit has no number of one, and meets none",
    Equivalent(
        f"{MONEY}/charges.py",
        '.with_columns(amount=pl.max_horizontal(0, amount(rules) - pl.col("kept").fill_null(0)))', "0", "-1",
    ): "less than nothing lacks no more than nothing does: what a person kept is not decided",
    Equivalent(
        f"{MONEY}/charges.py",
        'mixed = queue.group_by("email_key").agg(in_part.n_unique() > 1).filter("in_part")["email_key"]',
        '.filter("in_part")', "",
    ): "one job after the other is paid as all at once are, only more slowly",
    Equivalent(
        f"{MONEY}/credits.py",
        '.with_columns(epoch=pl.col("change").ne_missing(pl.col("change").shift()).cum_sum().over("person"))',
        '.over("person")', "",
    ): "the stretches of each person stay apart and in order, whatever their numbers",
    Equivalent(
        f"{MONEY}/charges.py", "_ROWS = 500_000  # jobs whose lines are made at a time", "500_000", "500001",
    ): "the lines are the same, however many jobs are decided at a time",
    Equivalent(
        f"{MONEY}/charges.py", "_ROWS = 500_000  # jobs whose lines are made at a time", "500_000", "499999",
    ): "the lines are the same, however many jobs are decided at a time",
    Equivalent(
        f"{MONEY}/attribution.py", '.sort("printed_at", "job_id")', '.sort("printed_at", "job_id")', "",
    ): "`owned` has them in this order; said again, because it is promised here",
    Equivalent(
        f"{PEOPLE}/balances.py", 'back=(-pl.col("moved").filter(pl.col("moved") < 0)).sum().cast(EXACT),', "<", "<=",
    ): "a job that moved nothing adds nothing",
    Equivalent(
        f"{STORE}/lines.py",
        'con, "SELECT DISTINCT product_id FROM charge WHERE site = $site AND product_id IS NOT NULL", site=site',
        "DISTINCT ", "",
    ): "a set is made of them; without it a row would come for each line",
    Equivalent(
        f"{STORE}/lines.py", '"SELECT DISTINCT held.ref FROM charge_event held JOIN charge_event done"',
        "DISTINCT ", "",
    ): "they are looked for in a list, where twice is once",
    Equivalent(
        f"{STORE}/lines.py", 'con.unregister("wanted")', 'con.unregister("wanted")', "pass",
    ): "the next call puts its own frame in the place; it frees memory",
    Equivalent(
        f"{STORE}/lines.py", 'con.unregister("extract")', 'con.unregister("extract")', "pass",
    ): "the next call puts its own frame in the place; it frees memory",
    Equivalent(
        f"{STORE}/ledger.py", 'con.unregister("moving")', 'con.unregister("moving")', "pass",
    ): "the next call puts its own frame in the place; it frees memory",
}  # fmt: skip
"""Changes without effect, and why."""
