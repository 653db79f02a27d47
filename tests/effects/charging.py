"""Charges on their way to Nexudus, for tests: people who pay, jobs that are priced, and the sending of what is due.

What belongs here: what the tests of sales, of credits and of held lines share. What does not: expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pipeline.dagster.outcomes import Outcome
from pipeline.domain.money.references import reference
from pipeline.store.lines import one_line
from tests.campaign.runs import CHARGES
from tests.harness import Harness, during, running
from tests.worlds import credit, customer, mail, world

DECIDED, SENT = CHARGES[:-1], CHARGES[-1:]
PAYERS, HOLDERS = (101, 102, 103), (201, 202, 203)
SALE, CREDIT = "POST coworkerproducts", "coworkerextraservices"


def credit_of(holder: int) -> int:
    return holder + 300


def people(**switches: object) -> dict[str, object]:
    customers = [customer(number, PaperCutPayAsYouPrint=True) for number in PAYERS]
    customers += [customer(number) for number in HOLDERS]
    return world(customers, [credit(credit_of(number), number, 100) for number in HOLDERS], **switches)


@contextmanager
def charging(folder: Path) -> Generator[Harness, None, None]:
    """Three customers who pay and three with 100 credits each, and users for all of them."""
    with running(folder, people()) as begun:
        assert begun.sync().ok
        yield begun


def printed(harness: Harness, number: int, cost: int) -> int:
    job = harness.print_job(mail(number), cost)
    assert job["allowed"], f"PaperCut refused the job of customer {number}"
    return job["job_id"]


def decided(harness: Harness, number: int, cost: int) -> int:
    """A job that is priced, and not yet sent."""
    job = printed(harness, number, cost)
    harness.advance(minutes=31)
    assert harness.sync(only=DECIDED).ok
    return job


def send(harness: Harness) -> Outcome:
    return harness.sync(only=SENT)


def charge(harness: Harness) -> Outcome:
    return harness.sync(only=CHARGES)


def line(harness: Harness, job: int, kind: str = "sale", seq: int = 0) -> dict[str, object]:
    with harness.sites.store.connect() as con:
        return one_line(con, reference("london", str(job), kind, seq))


def refused(harness: Harness, number: int) -> None:
    """Send while Nexudus does not have the customer, who is back afterwards."""
    harness.delete("coworkers", number)
    assert send(harness).ok
    harness.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))


def sending(harness: Harness, call: str, change: Callable[[], None]) -> Outcome:
    """Send, and change something while the answer to a call is on its way."""
    return during(harness, "nexudus", call, lambda: send(harness), change)
