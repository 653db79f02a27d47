"""What becomes of a flag of a customer when Nexudus is not as it was when the flag was asked for.

What belongs here: `pipeline/effects/flags.py`. What does not: choosing customers and the command
(`tests/operations/test_access.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from pipeline.effects.flags import set_flags
from tests.harness import Harness, during, running
from tests.worlds import customer, world

FREE = {"PaperCutFreePrinting": True}
PLACE = {"CountryId": 1220, "SimpleTimeZoneId": 2023}  # without them Nexudus takes no edit
READ = "GET coworkers"


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    people = [customer(102, PaperCutPayAsYouPrint=True, **PLACE)]
    with running(folder, world(people)) as begun:
        yield begun


@pytest.mark.parametrize(
    ("prepare", "outcome", "words", "halts"),
    [
        (lambda given: given.delete("coworkers", 102), "skipped", "no longer in Nexudus", False),
        (lambda given: given.edit("coworkers", 102, Archived=True), "skipped", "is archived now", False),
        (lambda given: given.edit("coworkers", 102, **FREE), "skipped", "has it already", False),
        (lambda given: given.edit("coworkers", 102, SimpleTimeZoneId=None), "refused", "PUT spaces/coworkers", False),
        (lambda given: given.fault("nexudus", "PUT coworkers", "drop_before"), "unknown", "is not set yet", False),
        (lambda given: given.fault("nexudus", "PUT coworkers", "drop_after"), "done", "", False),
        (lambda given: given.fault("nexudus", READ, "status", times=99, after=2), "unknown", "was done", False),
        (lambda given: given.fault("nexudus", READ, "status", times=99), "undone", "GET spaces", True),
        (lambda given: given.fault("nexudus", "PUT coworkers", "throttle", times=99), "undone", "PUT", True),
    ],
    ids=["deleted", "archived", "set already", "refused", "lost", "answer lost", "no proof", "no answer", "throttled"],
)  # fmt: skip
def test_a_flag_is_set_or_it_is_said_why_not(
    harness: Harness, prepare: Callable[[Harness], None], outcome: str, words: str, halts: bool
) -> None:
    prepare(harness)
    result = set_flags(harness.sites.nexudus, 102, FREE)
    assert (result.kind, result.halt is not None) == (outcome, halts), result
    assert words in result.detail


def test_a_flag_that_somebody_takes_back_at_once_ends_the_command(harness: Harness) -> None:
    result = during(
        harness, "nexudus", "PUT coworkers", lambda: set_flags(harness.sites.nexudus, 102, FREE),
        lambda: harness.edit("coworkers", 102, PaperCutFreePrinting=False),
    )  # fmt: skip
    assert (result.kind, result.halt is not None) == ("undone", True)
    assert "was saved, but did not set PaperCutFreePrinting" in result.detail


def test_a_customer_who_is_deleted_between_the_look_and_the_write_is_skipped(harness: Harness) -> None:
    result = during(
        harness, "nexudus", READ, lambda: set_flags(harness.sites.nexudus, 102, FREE),
        lambda: harness.delete("coworkers", 102), after=1,
    )  # fmt: skip
    assert harness.calls()["nexudus"]["PUT coworkers"] == 1, "both looks found the customer"
    assert (result.kind, result.halt, result.detail) == ("skipped", None, "is no longer in Nexudus")
