"""What the stories of remedies share: what needs a person, told everywhere; the decisions; the money that came of it.

What belongs here: asking and deciding. What does not: expectations of one cause; those are in the tests.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import date
from typing import Any

from pipeline.operations.causes import causes
from pipeline.operations.doctor import examine
from pipeline.operations.held import decide
from pipeline.operations.kinds import Cause
from pipeline.steps.reconcile import reconcile_day
from pipeline.store.lines import lines_in
from tests.campaign.runs import CHARGES
from tests.harness import Harness
from tests.worlds import TODAY, mail

AGAIN = {"printbridge/reread_days": "45"}

MONEY = ("nexudus_customers", *CHARGES[:2], "print_accounts", *CHARGES[2:])
"""The steps of a run that charges people who are users already: much faster than a whole run."""


_proved: set[tuple[str, str]] = set()
"""The kinds, with the site, of which it is proved that all say the same."""


def standing(harness: Harness) -> dict[str, Cause]:
    """What needs a person, by kind, once for a site; without `stale`, as some of these runs are no whole ones."""
    return {cause.kind: cause for cause in causes(harness.sites, []) if cause.kind != "stale"}


def sentences(harness: Harness) -> list[str]:
    """What needs a person, in words; none where all is well."""
    return [f"{cause.title}: {' '.join(cause.facts)}" for cause in standing(harness).values()]


def told(harness: Harness, kind: str, site: str = "london") -> Cause:
    """The cause of a kind, after proof that the check of the UI and the doctor name it with the same remedy."""
    found = standing(harness)
    assert kind in found, f"{kind} must be told, but told are {sorted(found)}"
    cause = found[kind]
    if (kind, site) in _proved:
        return cause
    _proved.add((kind, site))
    checks = [text for text in harness.findings(site) if "nothing_needs_a_person" in text]
    assert any(cause.title in text for text in checks), f"the check nothing_needs_a_person must name {cause.title!r}"
    seen = {finding.seen: finding.remedy for finding in examine(harness.sites[site])}
    assert cause.title in seen, f"the doctor must say {cause.title!r}, but says {sorted(seen)}"
    assert seen[cause.title] == cause.remedy, f"the doctor must name the remedy of {kind}"
    return cause


@contextmanager
def walked(harness: Harness, kind: str, only: Iterable[str] = MONEY) -> Generator[Cause, None, None]:
    """A remedy that is followed in the block: the cause is told before, and gone after one run or two."""
    yield told(harness, kind)
    for _ in range(2):
        run(harness, only=only)
        if kind not in (found := standing(harness)):
            return
    raise AssertionError(f"{kind} must be gone after its remedy and two runs: {found[kind]}")


def run(harness: Harness, minutes: float = 1, only: Iterable[str] = MONEY, **tags: str) -> None:
    """A run that must succeed, some minutes later."""
    harness.advance(minutes=minutes)
    outcome = harness.sync(only=only, **tags)
    assert outcome.ok, outcome.failures


def printed(harness: Harness, number: int, cost: float | str) -> str:
    """A job of a customer, to be decided by the next run half an hour later."""
    job = harness.print_job(mail(number), cost)
    assert job["allowed"], f"PaperCut refused the job of customer {number}"
    return str(job["job_id"])


def held(harness: Harness, job: str) -> dict[str, Any]:
    """The one held line of a job."""
    with harness.sites.store.connect() as con:
        (line,) = (line for line in lines_in(con, "london", "held").to_dicts() if line["job_id"] == job)
    return line


def decided(harness: Harness, job: str, how: str, **more: Any) -> None:
    """What `printbridge held retry`, `void` or `confirm` does with the held line of a job."""
    state = {"retry": "priced", "void": "void", "confirm": "confirmed"}[how]
    decide(harness.sites, [held(harness, job)["ref"]], state, reason="a test", operator="test", **more)


def billed(harness: Harness, number: int) -> int:
    """What a customer is charged in sales."""
    return sum(sale["Quantity"] for sale in harness.sales() if sale["CoworkerId"] == number)


def unexplained(harness: Harness, day: str = TODAY) -> int:
    """What the reconciliation of a day cannot explain, in cents."""
    with harness.sites.hold("london"):
        made = reconcile_day(harness.sites["london"], date.fromisoformat(day))
    return int(made.numbers["unexplained_cents"])
