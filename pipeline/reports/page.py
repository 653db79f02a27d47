"""The monthly report as one page (HTML) that needs nothing else: no network, no script, no font.

What belongs here: how figures are worded, the charts, filling the template. What does not: the figures themselves
(`pipeline.reports.figures`). Every text goes through the template's escaping; the page's own policy (CSP) allows one
style sheet, by its digest, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import altair as alt
import polars as pl
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.reports import figures
from pipeline.reports.figures import Figure, Row, Sheets
from pipeline.reports.sheets import month_before
from pipeline.reports.title import Title, sign

TOP = 8
"""How many customers and printers are shown."""

MOST_LINES = 6
"""How many held lines are shown for one reason; the workbook has them all."""

COLOURS = {"mono": "#3b6a94", "colour": "#c9701d", "credits": "#2a7f78", "money": "#8a5a9e"}
"""The colours of the charts, as in the style sheet; each stands out from white by 3:1 or more."""

MINUS = "\N{MINUS SIGN}"

_FOLDER = Path(__file__).parent / "templates"
_VEGALITE = "6.4"


@dataclass(frozen=True)
class Chart:
    """A chart with its title, its keys (class and text) and what it shows, in a sentence."""

    title: str
    keys: tuple[tuple[str, str], ...]
    told: str
    svg: str


def page(sheets: Sheets, before: Sheets, title: Title) -> bytes:
    """The page of a report.

    Args:
        sheets: of the month.
        before: of the month before.
        title: what the report is about.

    Returns:
        A whole HTML document, UTF-8.
    """
    style = (_FOLDER / "page.css").read_text("utf-8")
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    filled = environment.get_template("page.html").render(
        title=title,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        several=sheets["summary"]["site"].n_unique() > 1,
        verdict=_verdict(sheets),
        headline=figures.headline(sheets, before),
        charts=_charts(sheets, title.month),
        parts=_parts(sheets),
        customers=_shared(figures.top_customers(sheets, TOP)),
        printers=_shared(figures.top_printers(sheets, TOP)),
        held=figures.held(sheets, MOST_LINES),
        books=figures.books(sheets),
        totals=_totals(sheets),
        money=money,
        count=count,
        share=share,
        day=day,
        figure_text=figure_text,
        change=change,
    )
    return filled.encode()


# --- words ------------------------------------------------------------------------------------------------------------


def money(cents: int, currency: str | None) -> str:
    """An amount: 1205, GBP -> £12.05."""
    return f"{MINUS if cents < 0 else ''}{sign(currency)}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def count(number: int) -> str:
    """A number with separators: 1,205."""
    return f"{number:,}"


def share(part: float) -> str:
    """A part of a whole: 0.125 -> 12.5 %."""
    return f"{part * 100:.1f} %"


def day(when: date) -> str:
    """A day of the month: Mon 2."""
    return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[when.weekday()]} {when.day}"


def figure_text(figure: Figure) -> str:
    """The value of a headline figure in words."""
    return _value(figure, figure.value)


def change(figure: Figure, title: Title) -> str:
    """How a headline figure changed from the month before."""
    earlier = replace(title, month=month_before(title.month)).month_name.split()[0]
    if figure.before is None:
        return f"no jobs in {earlier}"
    if figure.kind == "share":
        points = (figure.value - figure.before) * 100
        return f"{points:+.1f} points from {earlier}".replace("-", MINUS)
    was = _value(figure, figure.before)
    if not figure.before or figure.value == figure.before:
        return f"{'as in' if figure.value == figure.before else was + ' in'} {earlier}"
    return f"{(figure.value / figure.before - 1) * 100:+.0f} % from {was} in {earlier}".replace("-", MINUS)


def _value(figure: Figure, value: float) -> str:
    if figure.kind == "share":
        return share(value)
    return money(int(value), figure.currency) if figure.kind == "money" else count(int(value))


def _verdict(sheets: Sheets) -> Row:
    """Whether the books agree, in a sentence."""
    rows = sheets["reconciliation"]
    wrong = rows.filter(pl.col("unexplained_cents") != 0)
    missing = figures.unreconciled(sheets)
    if wrong.height:
        sums = ", ".join(
            money(int(part["unexplained_cents"].sum()), currency)
            for currency in figures.currencies(sheets)
            for part in [wrong.filter(pl.col("currency").eq_missing(currency))]
            if part.height
        )
        text = f"{sums} on {_days(wrong.height)} cannot be explained: see Reconciliation."
        return {"state": "wrong", "text": text}
    if missing:
        text = f"{_days(len(missing))} with jobs not reconciled yet, the first on {missing[0][1]} ({missing[0][0]})."
        return {"state": "open", "text": text}
    if not rows.height:
        return {"state": "", "text": "Nothing was printed in this month."}
    seen = _days(rows["day"].n_unique())
    text = f"The print log, the ledger and Nexudus agree on every day with jobs ({seen}): nothing is unexplained."
    return {"state": "", "text": text}


def _days(number: int) -> str:
    return f"{number} {'day' if number == 1 else 'days'}"


# --- parts of the page ------------------------------------------------------------------------------------------------


def _parts(sheets: Sheets) -> list[Row]:
    """For each currency, what became of the cost, with where each way begins on the bar."""
    parts: list[Row] = []
    for currency in figures.currencies(sheets):
        ways = figures.ways(sheets, currency)
        start = 0.0
        for way in ways:
            way["start"] = start
            start += way["share"]
        total = sum(way["cents"] for way in ways)
        parts.append({"currency": currency, "suffix": _suffix(sheets, currency), "ways": ways, "total": total})
    return parts


def _shared(rows: list[Row]) -> list[Row]:
    """The rows with their pages as a share of the largest."""
    most = max((row["pages"] for row in rows), default=0)
    return [{**row, "share": row["pages"] / most if most else 0.0} for row in rows]


def _totals(sheets: Sheets) -> Row | None:
    """The sums of the reconciliation, if its rows have one currency."""
    rows = sheets["reconciliation"]
    if not rows.height or rows["currency"].n_unique() > 1:
        return None
    return {"currency": rows["currency"][0], **rows.select(pl.col("rows", "^.*_cents$").sum()).row(0, named=True)}


def _charts(sheets: Sheets, month: str) -> list[Chart]:
    """Pages by day, and for each currency credits and money by day."""
    days = figures.by_day(sheets, month)
    pages = days.group_by("day").agg(pl.col("pages", "color_pages").sum()).sort("day")
    colour, black = pl.col("color_pages"), pl.col("pages") - pl.col("color_pages")
    charts = [
        Chart(
            "Pages by day",
            (("mono", "Black and white"), ("colour", "Colour")),
            _told(pages, pl.col("pages"), lambda most: f"{count(most)} pages"),
            _bars(pages.select("day", mono=black, colour=colour)),
        )
    ]
    return charts + [_paid(days, currency, _suffix(sheets, currency)) for currency in figures.currencies(sheets)]


def _paid(days: pl.DataFrame, currency: str | None, suffix: str) -> Chart:
    """Credits and money by day in one currency."""
    cents = days.filter(pl.col("currency").eq_missing(currency)).select(
        "day", credits="credits_cents", money="money_cents"
    )
    return Chart(
        f"Credits and money by day{suffix}",
        (("credits", "Paid with credits"), ("money", "Charged as money")),
        _told(cents, pl.sum_horizontal("credits", "money"), lambda most: money(most, currency)),
        _bars(cents.with_columns(pl.col("credits", "money") / 100), before=sign(currency)),
    )


def _suffix(sheets: Sheets, currency: str | None) -> str:
    """Which currency a part is about, where there are several."""
    return f" ({currency or 'currency unknown'})" if len(figures.currencies(sheets)) > 1 else ""


def _told(days: pl.DataFrame, size: pl.Expr, wording: Callable[[int], str]) -> str:
    """What a chart by day shows, for those who do not see it: its sum, and its largest day."""
    sizes = days.select("day", size=size)
    total = int(sizes["size"].sum())
    if not total:
        return "None in this month."
    most = sizes.sort("size", "day", descending=[True, False]).row(0, named=True)
    return f"{wording(total)} in all; most on {day(most['day'])}, {wording(most['size'])}."


def _bars(days: pl.DataFrame, *, before: str = "") -> str:
    """Stacked bars by day as an SVG: a column `day`, and one for each layer, named as in COLOURS."""
    layers = [name for name in days.columns if name != "day"]
    values = [
        {"day": str(row["day"].day), "layer": name, "place": place, "value": row[name]}
        for row in days.iter_rows(named=True)
        for place, name in enumerate(layers)
    ]
    label = f"{json.dumps(before)} + format(datum.value, datum.value % 1 ? ',.2f' : ',')"
    chart = (
        alt.Chart(alt.Data(values=values), width=780, height=180, background="transparent")
        .mark_bar()
        .encode(
            x=alt.X("day:O", sort=None, title=None, scale=alt.Scale(paddingInner=0.3, paddingOuter=0.15)).axis(
                labelAngle=0, ticks=False, domainColor="#8795a1", labelPadding=6
            ),
            y=alt.Y("value:Q", title=None).axis(
                tickCount=4, domain=False, ticks=False, gridColor="#e4e9ee", labelExpr=label, labelPadding=8
            ),
            color=alt.Color("layer:N", legend=None).scale(domain=layers, range=[COLOURS[name] for name in layers]),
            order="place:Q",
        )
        .configure_view(stroke=None)
        .configure_axis(labelColor="#566573", labelFontSize=12, labelFont="system-ui, sans-serif")
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=_VEGALITE)
    # The box around says what the picture shows; the page needs neither names of formats nor a role for each bar.
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (?:xmlns(?::xlink)?|width|height)="[^"]*"', "", opening)
    rest = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", rest)
    return f'{opening} aria-hidden="true">{rest}'
