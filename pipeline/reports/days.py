"""Pages and credits per day as one small picture, for the page of the jobs in the interface.

What belongs here: drawing bars. What does not: the charts of the monthly report (`page.py`). Those are drawn by Vega,
which takes 0.7 s and 70 MB when it is first used (measured); the monthly report can spare them, a run that is over in
a second or two, and may come every two minutes, cannot. A picture of 30 days is 3 kB, with Vega 20 kB.
"""

from __future__ import annotations

import base64
from datetime import date, datetime, timedelta

import polars as pl

DAYS = 30
STEP, BAR, HIGH, GAP, TOP, LEFT, RIGHT = 20, 14, 60, 44, 22, 72, 16
WIDTH = LEFT + DAYS * STEP + RIGHT
SERIES = (("pages", "Pages", "#3b6a94"), ("credits", "Credits", "#2a7f78"))
"""Column, name and colour of each row of bars; the colours are those of the report."""


def first_day(now: datetime) -> datetime:
    """From when jobs are needed, with a day to spare for the zone."""
    return now - timedelta(days=DAYS + 1)


def per_day(jobs: pl.DataFrame, timezone: str, now: datetime) -> pl.DataFrame:
    """What was printed on each of the last days, today among them.

    Args:
        jobs: printed_at, pages, cost of the chargeable jobs, or sums of them that lie within one day.
        timezone: in which days are cut.
        now: the time, UTC.

    Returns:
        day, pages, credits; `DAYS` rows, also for days without a job.
    """
    today = pl.select(pl.lit(now).dt.convert_time_zone(timezone).dt.date()).item()
    days = pl.select(day=pl.date_range(today - timedelta(days=DAYS - 1), today))
    local = pl.col("printed_at").dt.convert_time_zone(timezone).dt.date()
    sums = jobs.group_by(day=local).agg(pl.col("pages", "cost").sum())
    found = days.join(sums, on="day", how="left").sort("day")
    return found.select("day", pl.col("pages").fill_null(0), credits=pl.col("cost").cast(pl.Float64).fill_null(0))


def picture(days: pl.DataFrame) -> str:
    """The days as bars: Markdown with an image that needs no other file.

    Args:
        days: what `per_day` returns.
    """
    first, last = days["day"][0], days["day"][-1]
    told = f"{days['pages'].sum():,} pages and {days['credits'].sum():,.10g} credits, {first} to {last}"
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(_svg(days).encode()).decode()})\n\n{told}"


def _svg(days: pl.DataFrame) -> str:
    height = TOP + len(SERIES) * (HIGH + GAP)
    parts = [f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    for number, (column, name, colour) in enumerate(SERIES):
        foot = TOP + HIGH + number * (HIGH + GAP)
        most = max(days[column])
        parts.append(f'<text x="{LEFT}" y="{foot - HIGH - 7}" font-weight="bold">{name}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{foot - HIGH + 8}" text-anchor="end">{most:,.10g}</text>')
        bars = (_bar(place, value * HIGH / (most or 1), foot) for place, value in enumerate(days[column]))
        parts.append(f'<path fill="{colour}" d="{"".join(bars)}"/>')
        parts.append(f'<path stroke="#777" d="M{LEFT} {foot}.5H{WIDTH - RIGHT}"/>')
        parts += [_label(place, day, foot) for place, day in enumerate(days["day"]) if (DAYS - 1 - place) % 7 == 0]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        f' font-size="12" fill="#333">{"".join(parts)}</svg>'
    )


def _bar(place: int, high: float, foot: int) -> str:
    return f"M{LEFT + place * STEP + (STEP - BAR) // 2} {foot}v-{high:.1f}h{BAR}v{high:.1f}z" if high else ""


def _label(place: int, day: date, foot: int) -> str:
    middle = LEFT + place * STEP + STEP // 2
    return f'<text x="{middle}" y="{foot + 14}" text-anchor="middle">{day:%m-%d}</text>'
