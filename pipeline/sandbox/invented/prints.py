"""What people print in an invented space: requests for the sandbox's control endpoint, in time order.

What belongs here: who prints when, where and how much, and which jobs are refunded later. What does not: who the people
are (`world.py`), or what PaperCut does with a job. Source of the figures: `rules.md` 11.10.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.sandbox.invented.world import PRINTERS, pricing_models, printing_customers, zone_of

Json = dict[str, Any]

PRINTING_SHARE = 1 / 3
"""Of the members, those who print in a month."""

JOBS_PER_PERSON = 16.0
COLOUR_SHARE = 0.46
MEDIAN_PAGES = 4
PAGES_SPREAD = 0.8
WEEKDAYS = (0.19, 0.27, 0.20, 0.16, 0.155, 0.005, 0.02)
"""Monday to Sunday: most on Tuesday, almost none on Saturday."""

MONTH = timedelta(days=30)
NEVER_RELEASED = 0.02
DUPLEX = 0.4
SEVERAL_COPIES = 0.1
REFUNDED = 0.015
OVERSIZE_PAGES = 640
"""One job so large that it costs more than a site charges without asking."""

TRIES = 50
"""A day that the period cuts has fewer working hours."""

DOCUMENTS = (
    "Invoice.pdf", "Contract.docx", "Boarding pass", "Pitch deck.pptx", "Umowa.docx", "Договор.docx", "Τιμολόγιο.pdf",
    "報告.pdf", "عقد.docx", 'Flyer "Summer".ai', "Rechnung März.pdf", "https://example.com/map?a=1", "=SUM(A1).xlsx",
)  # fmt: skip


def make_prints(world: Mapping[str, Any], start: datetime, end: datetime, *, seed: int = 1) -> list[Json]:
    """The jobs of all sites from `start` to before `end`, aware UTC, as bodies of `POST /control/print`.

    Some are jobs of staff, some never leave the release queue, one is huge; whether a job is refused is PaperCut's
    business. User names are lower-case e-mails, as printbridge makes them.

    Args:
        world: made by `world.make_world`.
        start: the first moment.
        end: the moment after the last.
        seed: another seed, other jobs.
    """
    jobs: list[Json] = []
    for name, site in world["sites"].items():
        rng = random.Random(f"prints:{seed}:{name}")
        people = printing_customers(world, name)
        staff = [user["username"] for user in site["users"] if "@" not in user.get("username", "@")]
        days = _Days(start, end, ZoneInfo(zone_of(world, name)))
        printing = rng.sample(people, round(len(people) * PRINTING_SHARE))
        for username in [*printing, *rng.sample(staff, min(3, len(staff)))]:
            often = rng.expovariate(1 / JOBS_PER_PERSON) * ((end - start) / MONTH)
            made = [_job(rng, name, site, username, days) for _ in range(max(1, round(often)))]
            jobs += [_on_ezeep(job) for job in made] if site.get("system") == "ezeep" else made
    jobs.sort(key=lambda job: (job["at"], job["site"], job["username"]))
    _oversize(jobs, world)
    return jobs


def make_refunds(jobs: Sequence[Json], end: datetime, *, seed: int = 1) -> list[Json]:
    """Which of these jobs staff gives back later, some only in part, in time order.

    Args:
        jobs: made by `make_prints`.
        end: no refund is later than this, UTC.
        seed: another seed, other refunds.

    Returns:
        `print` (position in `jobs`), `at` (ISO) and, for a part, `amount`.
    """
    rng = random.Random(f"refunds:{seed}")
    refunds: list[Json] = []
    for position, job in enumerate(jobs):
        if rng.random() >= REFUNDED or not job.get("printed", True) or "cost" not in job:
            continue
        at = datetime.fromisoformat(job["at"]) + timedelta(hours=rng.triangular(0.1, 240, 2))
        part = {"amount": job["cost"] // 2} if job["cost"] > 1 and rng.random() < 0.25 else {}
        if at < end:
            refunds.append({"print": position, "at": at.isoformat(), **part})
    return sorted(refunds, key=lambda refund: refund["at"])


class _Days:
    """The local days of a period with their share of the prints."""

    def __init__(self, start: datetime, end: datetime, zone: ZoneInfo) -> None:
        self._start, self._end, self._zone = start, end, zone
        first, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
        self._days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        self._weights = [WEEKDAYS[day.weekday()] for day in self._days]

    def moment(self, rng: random.Random) -> datetime:
        """A moment in working hours of one of the days, UTC; any moment of a period that has none."""
        for _ in range(TRIES):
            day: date = rng.choices(self._days, self._weights)[0]
            seconds = rng.triangular(8 * 3600, 19.5 * 3600, 11 * 3600)
            local = datetime.combine(day, time(), self._zone) + timedelta(seconds=round(seconds))
            if self._start <= (moment := local.astimezone(UTC)) < self._end:
                return moment
        return self._start + (self._end - self._start) * rng.random()


def _job(rng: random.Random, name: str, site: Mapping[str, Any], username: str, days: _Days) -> Json:
    colour = rng.random() < COLOUR_SHARE
    printer = rng.choice([each for each in _printers(site) if each["cost_color"] or not colour])
    pages = max(1, round(rng.lognormvariate(math.log(MEDIAN_PAGES), PAGES_SPREAD)))
    color_pages = (pages if rng.random() < 0.6 else rng.randint(1, pages)) if colour else 0
    copies = rng.randint(2, 5) if rng.random() < SEVERAL_COPIES else 1
    job: Json = {
        "site": name, "username": username, "printer": printer["name"], "pages": pages, "color_pages": color_pages,
        "copies": copies, "cost": copies * _cost(printer, pages, color_pages), "duplex": rng.random() < DUPLEX,
        "document": rng.choice(DOCUMENTS), "at": days.moment(rng).isoformat(),
    }  # fmt: skip
    return job | {"printed": False} if rng.random() < NEVER_RELEASED else job


def _printers(site: Mapping[str, Any]) -> list[Json]:
    """The printers of a site with what a page costs; ezeep does not know that, so it is that of the same printers."""
    if site.get("system") != "ezeep":
        return site["printers"]
    return [{"name": name, "cost_simple": grey, "cost_color": colour} for name, grey, colour, _ in PRINTERS]


def _on_ezeep(job: Json) -> Json:
    """A job as ezeep knows it: all pages of all copies, and no cost; it is grey or in colour as a whole."""
    pages = job["pages"] * job["copies"]
    shared = {name: job[name] for name in ("site", "username", "printer", "duplex", "document", "at")}
    return {**shared, "pages": pages, "color_pages": pages if job["color_pages"] else 0, "paper": "A4"}


def _cost(printer: Mapping[str, Any], pages: int, color_pages: int) -> int:
    return printer["cost_simple"] * (pages - color_pages) + printer["cost_color"] * color_pages


def _oversize(jobs: list[Json], world: Mapping[str, Any]) -> None:
    """Make one job of a customer who pays per print a huge one, in colour on the dearest printer."""
    models = pricing_models(world)
    charged = {
        site["business_id"]
        for name, site in world["sites"].items()
        if "pay_per_print" in models[name] and site.get("system") != "ezeep"
    }
    paying = {
        account["Email"].lower()
        for account in world["nexudus"]["coworkers"]
        if account["PaperCutPayAsYouPrint"] and not account["PaperCutFreePrinting"] and account["Email"]
        and account["InvoicingBusinessId"] in charged
    }  # fmt: skip
    late = jobs[len(jobs) // 3 :]
    chosen = next((job for job in late if job["username"] in paying and job.get("printed", True)), None)
    if chosen:
        printer = max(world["sites"][chosen["site"]]["printers"], key=lambda each: each["cost_color"])
        size = {"pages": OVERSIZE_PAGES, "color_pages": OVERSIZE_PAGES, "copies": 4, "printer": printer["name"]}
        chosen |= size | {"cost": 4 * _cost(printer, OVERSIZE_PAGES, OVERSIZE_PAGES)}
