"""Prices of a page: what a job costs where its print system knows no prices, as ezeep does not.

What belongs here: which price of a site applies to a page, and the cost of a job by the prices that held when it was
printed. What does not: what the cost is charged to (`charges.py`), and where prices are written (`pipeline.settings`).
"""

from __future__ import annotations

import re

import polars as pl

from pipeline.domain.money.history import Past, eras
from pipeline.domain.rules import Price, SiteRules
from pipeline.domain.tables import columns

COST = columns("print_jobs")["cost"]


def priced(jobs: pl.DataFrame, past: Past, rules: SiteRules) -> pl.DataFrame:
    """The jobs, with a cost for each that has none and that a price matches.

    A job keeps the price that held when it was printed. Where none matched then, the first later one that does: so a
    price that was forgotten can be added, and the jobs that waited for it are charged.

    Args:
        jobs: printed_at (UTC), printer, paper, pages, color_pages, duplex, cost (credits, null where it is not known).
        past: what held in former times.
        rules: the site's choices now.

    Returns:
        The columns of jobs, in their order. cost stays null where no price matches every page.
    """
    at, always = pl.col("printed_at"), pl.lit(value=True)
    cost, answer = pl.lit(None, COST), pl.lit(None, COST)
    for era in reversed(eras(past, rules)):
        cost = pl.coalesce(of_pages(era.rules.prices), cost)
        inside = (at >= era.since if era.since else always) & (at < era.until if era.until else always)
        answer = pl.when(inside).then(cost).otherwise(answer)
    return jobs.with_columns(cost=pl.coalesce("cost", answer))


def of_pages(prices: tuple[Price, ...]) -> pl.Expr:
    """The cost of a job in credits: grey pages and colour pages each at the first price that matches them.

    Null where pages of one kind have no price, or where the numbers of pages are none: then a person decides.
    Reads printer, paper, pages, color_pages, duplex.
    """
    pages, colour = pl.col("pages"), pl.col("color_pages")
    parts = [
        pl.when(number > 0).then(number * _of_page(prices, colour=in_colour)).otherwise(0)
        for number, in_colour in ((pages - colour, False), (colour, True))
    ]
    whole = pl.when((colour >= 0) & (pages >= colour)).then(parts[0] + parts[1])
    return whole.cast(COST, strict=False)


def _of_page(prices: tuple[Price, ...], *, colour: bool) -> pl.Expr:
    """What one page costs by the first price that matches; null where none does."""
    found = [
        pl.when(_matches(price)).then(pl.lit(price.credits_per_page, pl.Int64))
        for price in prices
        if price.colour in (None, colour)
    ]
    return pl.coalesce(*found, pl.lit(None, pl.Int64))


def _matches(price: Price) -> pl.Expr:
    """Whether a price is one for the printer, the paper and the sides of a job; no word of it looks at case."""
    pattern = ".*".join(re.escape(part) for part in price.printer.split("*"))
    matches = pl.col("printer").str.contains(f"(?is)^{pattern}$")
    if price.paper is not None:
        matches &= pl.col("paper").str.to_lowercase().eq_missing(price.paper.lower())
    if price.duplex is not None:
        matches &= pl.col("duplex") == price.duplex
    return matches
