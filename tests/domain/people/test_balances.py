"""Balances that fell without a job: known among prints, refunds, changes of ours and people's hands, in any order.

What belongs here: the rule alone, over generated days. What does not: what a run makes of it
(`tests/steps/test_hands.py`).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people import balances
from pipeline.domain.people.differences import EXACT
from tests.domain.people.frames import users
from tests.frames import NOW, shuffled

HOUR = timedelta(hours=1)
PEOPLE = 400


def jobs(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "site": "london", "printed_at": NOW, "printer": "p", "pages": 1, "color_pages": 0, "copies": 1,
                "duplex": False, "allowed": True, "printed": True, "job_type": "PRINT", "shared_account": False, **row,
            }
            for row in rows
        ],
        schema=tables.columns("print_jobs"),
    )  # fmt: skip


def changes(rows: list[dict[str, Any]]) -> pl.DataFrame:
    base = {"site": "london", "plan_id": "p", "action": "adjust", "changes": "balance", "detail": ""}
    return pl.DataFrame([base | row for row in rows], schema=tables.columns("print_user_sync"))


class Day:
    """PaperCut with some users, its log, and a bridge that reads both again and again."""

    def __init__(self, *names: str) -> None:
        self.balance = dict.fromkeys(names or ("ada",), 100)
        self.rows: list[dict[str, Any]] = []
        self.pending: dict[str, dict[str, Any]] = {}
        self.latest: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.written: list[dict[str, Any]] = []
        self.known = tables.empty("print_users")
        self.now = NOW
        self.printed = 0

    def act(self, action: str, amount: int, name: str = "ada") -> None:
        """Something happens in PaperCut: the balance moves at once, the row is read by the next reading of jobs."""
        paid = [row for row in self.latest[name].values() if not row["refunded"]]
        match action:
            case "print":
                self.balance[name] -= amount
                self.printed += 1
                job = {"job_id": f"{self.printed:06}", "revision": 0, "cost": Decimal(amount), "refunded": False}
                self._log(name, job | {"username": name})
            case "refund" if paid:
                self.balance[name] += int(paid[0]["cost"])
                self._log(name, paid[0] | {"refunded": True})
            case "anonymize" if paid:
                self._log(name, paid[0] | {"username": "anonymous"})
            case "raise" | "fall":
                self.balance[name] += amount if action == "raise" else -amount
            case _:
                pass

    def _log(self, name: str, job: dict[str, Any]) -> None:
        self.latest[name][job["job_id"]] = self.pending[job["job_id"]] = job

    def observe(self) -> None:
        """The users are read."""
        self.now += timedelta(minutes=5)
        rows = [{"username": name, "balance": Decimal(balance)} for name, balance in sorted(self.balance.items())]
        fixed = users("username\nada").drop("username", "balance", *balances.CARRIED)
        found = pl.DataFrame(rows, schema={"username": pl.String, "balance": EXACT}).join(fixed, how="cross")
        found = found.with_columns(observed_at=pl.lit(self.now, balances.TIME)).select(
            name for name in tables.columns("print_users") if name not in balances.CARRIED
        )
        ours = found.select("username", coworker_id=1)
        self.known = balances.carried(found, self.known, jobs(self.rows), changes(self.written), ours)

    def read(self) -> dict[str, Decimal]:
        """The jobs are read. How much fell, as the plan of this run sees it, by user."""
        self.now += timedelta(seconds=10)
        before = Counter(row["job_id"] for row in self.rows)
        for row in self.pending.values():
            self.rows.append(row | {"revision": before[row["job_id"]], "first_seen_at": self.now})
        self.pending = {}
        found = balances.fallen(self.known, jobs(self.rows), self.now, HOUR)
        return dict(found.select("username", "fallen").iter_rows())

    def adjust(self, by: int, outcome: str, name: str = "ada", *, happens: bool) -> None:
        """A change of ours, with what came of it and what we know of that."""
        seen = dict(self.known.select("username", "balance").iter_rows())[name]
        row = {"username": name, "balance": seen, "target": seen + by, "outcome": outcome}
        self.written.append(row | {"happened_at": self.now + timedelta(seconds=10)})
        self.balance[name] += by if happens else 0

    def settle(self) -> dict[str, Decimal]:
        """Two quiet runs: whatever came between two readings has been read."""
        self.run()
        return self.run()

    def run(self) -> dict[str, Decimal]:
        self.observe()
        return self.read()


def play(day: Day, rng: random.Random, events: list[str], outcomes: list[str]) -> None:
    """Some runs in which everybody may print or be refunded before and between the readings, and be adjusted."""
    for _ in range(6):
        for read in (day.observe, day.read):
            for name in day.balance:
                for _ in range(rng.randrange(3)):
                    day.act(rng.choice(events), rng.randint(1, 40), name)
            fell = read()
        for name in day.balance:
            by, outcome = rng.randint(-40, 40), rng.choice(["", *outcomes])
            if outcome and not (by > 0 and name in (fell or {})):
                happens = outcome == "done" or (outcome == "unknown" and rng.random() < 0.5)
                day.adjust(by, outcome, name, happens=happens)


@pytest.mark.parametrize("seed", range(4))
def test_prints_refunds_gifts_and_our_own_changes_never_look_like_a_fall(seed: int) -> None:
    rng, day = random.Random(seed), Day(*(f"u{number:03}" for number in range(PEOPLE)))
    day.settle()
    play(day, rng, ["print", "refund", "raise"], ["done", "unknown", "failed"])
    assert day.settle() == {}


@pytest.mark.parametrize("seed", range(4))
def test_what_fell_without_a_job_is_known_to_the_cent_whatever_else_happens(seed: int) -> None:
    rng, day = random.Random(seed), Day(*(f"u{number:03}" for number in range(PEOPLE)))
    day.settle()
    play(day, rng, ["print", "refund", "raise"], ["done", "unknown", "failed"])
    day.settle()
    lower = {name: Decimal(rng.randint(1, 40)) for name in day.balance if rng.random() < 0.5}
    for name, amount in lower.items():
        day.act("fall", int(amount), name)
    assert day.settle() == lower
    play(day, rng, ["print", "refund"], ["done", "failed"])
    assert day.settle() == lower, "only a person, or money by hand, ends it"


def test_jobs_made_anonymous_before_they_are_paid_are_a_fall() -> None:
    day = Day()
    day.settle()
    for cost in (30, 4):
        day.act("print", cost)
    assert day.settle() == {}
    day.act("anonymize", 0)
    assert day.settle() == {"ada": 30}


def test_a_job_that_is_read_before_the_balance_it_took_is_no_fall() -> None:
    day = Day()
    day.settle()
    day.observe()
    day.act("print", 30)
    assert day.read() == {}
    day.act("fall", 7)
    assert day.settle() == {"ada": 7}


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("by", [30, -30])
def test_a_change_with_an_unknown_outcome_leaves_the_balance_as_it_is_found(by: int, happens: bool) -> None:
    day = Day()
    day.settle()
    day.adjust(by, "unknown", happens=happens)
    assert day.settle() == {}
    assert day.known["expected"].to_list() == [100 + by * happens]
    assert day.known["fell_at"].to_list() == [None]


def test_money_by_hand_ends_a_fall() -> None:
    day = Day()
    day.settle()
    day.act("fall", 30)
    assert day.settle() == {"ada": 30}
    day.act("raise", 30)
    assert day.settle() == {}


def test_what_a_person_lets_go_is_forgotten_and_the_next_fall_is_another() -> None:
    day = Day()
    day.settle()
    day.act("fall", 30)
    assert day.run() == {"ada": 30}
    day.adjust(30, "done", happens=True)
    assert day.settle() == {}
    day.act("fall", 7)
    assert day.settle() == {"ada": 7}


def test_a_rise_that_papercut_did_not_carry_out_is_asked_for_once_and_not_for_ever() -> None:
    day = Day()
    day.settle()
    day.adjust(30, "done", happens=False)
    assert day.settle() == {"ada": 30}


@pytest.mark.parametrize(("hours", "told"), [(0.5, False), (1.5, True)])
def test_a_person_is_told_once_the_job_should_be_in_the_log(hours: float, told: bool) -> None:
    day = Day()
    day.settle()
    day.act("fall", 30)
    day.run()
    day.now += timedelta(hours=hours)
    day.run()
    found = balances.fallen(day.known, jobs(day.rows), day.now, HOUR)
    assert found["told"].to_list() == [told]


def test_a_job_without_a_cost_leaves_the_balance_unexplained_and_nobody_held() -> None:
    day = Day()
    day.settle()
    day.act("print", 30)
    day.pending["000001"]["cost"] = None
    assert day.run() == {}
    assert day.run() == {}


def test_a_user_that_is_renamed_keeps_what_fell() -> None:
    day = Day()
    day.settle()
    day.act("fall", 30)
    day.settle()
    day.balance = {"bea": day.balance["ada"]}
    assert day.settle() == {"bea": 30}


# --- the moment of an observation -------------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)


def seen(balance: str, seconds: float = 0, **columns: Any) -> pl.DataFrame:
    """Ada, of whom 100 was expected, observed some seconds after NOW."""
    frame = users(f"username balance expected\nada {balance} 100")
    return frame.with_columns(observed_at=pl.lit(NOW + seconds * SECOND, balances.TIME), **columns)


def later(balance: str, known: pl.DataFrame, log: pl.DataFrame, written: list[dict[str, Any]]) -> pl.DataFrame:
    """Ada, observed five minutes later."""
    ours = pl.DataFrame({"username": ["ada"], "coworker_id": [1]})
    return balances.carried(seen(balance, 300).drop(balances.CARRIED), known, log, changes(written), ours)


def revisions(*rows: tuple[int, bool]) -> pl.DataFrame:
    """A job of 30 in revisions: first seen so many seconds after NOW, and whether it was refunded by then."""
    return jobs(
        [
            {
                "job_id": "1", "revision": number, "username": "ada", "cost": Decimal(30), "refunded": refunded,
                "first_seen_at": NOW + seconds * SECOND,
            }
            for number, (seconds, refunded) in enumerate(rows)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "balance", "fell"),
    [
        ([(0, False)], "70", []),
        ([(-1, False)], "70", [30]),
        ([(-1, False), (0, True)], "130", []),
        ([(-1, False), (0, True)], "100", [30]),
        ([(-2, False), (-1, True)], "100", []),
        ([(0, False), (1, True)], "100", []),
        ([(0, False), (1, True)], "70", [30]),
    ],
    ids=["read since", "read before", "refunded since", "refund not made", "both before", "both since", "no refund"],
)
def test_what_was_read_with_the_balance_or_later_is_not_in_what_was_expected(
    rows: list[tuple[int, bool]], balance: str, fell: list[int]
) -> None:
    assert balances.fallen(seen(balance), revisions(*rows), NOW, HOUR)["fallen"].to_list() == fell


@pytest.mark.parametrize("column", ["shared_account", "refunded"])
def test_a_job_that_takes_nothing_from_its_user_explains_no_fall(column: str) -> None:
    free = revisions((0, False)).with_columns(pl.lit(value=True).alias(column))
    assert balances.fallen(seen("70"), free, NOW, HOUR)["fallen"].to_list() == [30]


@pytest.mark.parametrize(("balance", "found"), [("99.995", 0), ("99.994", 1), ("100.01", 0)])
def test_less_than_a_cent_is_noise(balance: str, found: int) -> None:
    assert balances.fallen(seen(balance), jobs([]), NOW, HOUR).height == found


@pytest.mark.parametrize(
    ("balance", "expected"), [("100.005", "100.005"), ("99.995", "99.995"), ("99.994", "100"), ("100.006", "100")]
)
def test_noise_between_two_observations_is_taken_over_and_never_adds_up(balance: str, expected: str) -> None:
    assert later(balance, seen("100"), jobs([]), [])["expected"].to_list() == [Decimal(expected)]


@pytest.mark.parametrize(("later", "told"), [(HOUR, True), (HOUR - SECOND, False)])
def test_a_person_is_told_after_exactly_the_time_that_a_job_may_take(later: timedelta, told: bool) -> None:
    assert balances.fallen(seen("70"), jobs([]), NOW + later, HOUR)["told"].to_list() == [told]


@pytest.mark.parametrize(("at", "expected"), [(0, 130), (-1, 100)])
def test_a_change_of_ours_counts_from_the_moment_of_the_observation_on(at: int, expected: int) -> None:
    row = {"username": "ada", "balance": Decimal(100), "target": Decimal(130), "outcome": "done"}
    frame = later("90", seen("100"), jobs([]), [row | {"happened_at": NOW + at * SECOND}])
    assert frame["expected"].to_list() == [expected]


@pytest.mark.parametrize(("outcome", "sign", "expected"), [("done", 1, 130), ("done", -1, 70), ("unknown", -1, 70)])
def test_several_changes_of_ours_since_an_observation_add_up(outcome: str, sign: int, expected: int) -> None:
    row = {"username": "ada", "balance": Decimal(100), "outcome": outcome, "happened_at": NOW}
    written = [row | {"target": Decimal(100 + sign * by)} for by in (10, 20)]
    assert later("50", seen("100"), jobs([]), written)["expected"].to_list() == [expected]


@pytest.mark.parametrize(
    ("balance", "by", "fell_at"), [("70", 0, NOW), ("99.995", 0, None), ("70", 1, None), ("70", -1, NOW)]
)
def test_a_fall_is_known_since_it_was_seen_until_we_raise_the_balance(balance: str, by: int, fell_at: Any) -> None:
    row = {"username": "ada", "balance": Decimal(balance), "outcome": "done", "happened_at": NOW}
    frame = later(balance, seen(balance), jobs([]), [row | {"target": Decimal(balance) + by}])
    assert frame["fell_at"].to_list() == [fell_at]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("bea y 1", [100]), ("bea n -", [None]), ("bea y 2", [None]), ("bea y 1\nada y 1", [None, 100]),
        ("bea y 1\ncy y 1", [None, None]),
    ],
    ids=["renamed", "no mark", "the mark of another", "a second one", "two instead"],
)  # fmt: skip
def test_only_a_user_with_our_mark_takes_over_what_was_expected(now: str, expected: list[int | None]) -> None:
    found = users(f"username marked marked_coworker_id\n{now}").drop(balances.CARRIED)
    found = found.with_columns(balance=pl.lit(70).cast(EXACT), observed_at=pl.lit(NOW + HOUR, balances.TIME))
    ours = found.select("username", coworker_id=1)
    frame = balances.carried(found, seen("100", marked_coworker_id=pl.lit(1, pl.Int64)), jobs([]), changes([]), ours)
    assert frame["expected"].to_list() == expected


def test_two_users_who_are_renamed_at_once_each_keep_what_was_expected_of_them() -> None:
    mark = "username balance marked_coworker_id"
    found = users(f"{mark}\nbea 70 1\neve 50 2").drop(balances.CARRIED)
    found = found.with_columns(observed_at=pl.lit(NOW + HOUR, balances.TIME))
    known = users(f"{mark} expected\nada 70 1 100\ndan 50 2 60")
    frame = balances.carried(found, known, jobs([]), changes([]), found.select("username", coworker_id=1))
    assert frame.select("username", "expected", "fell_at").rows() == [("bea", 100, NOW), ("eve", 60, NOW)]
    fallen = balances.fallen(shuffled(frame), jobs([]), NOW + HOUR, HOUR)
    assert fallen.select("username", "fallen").rows() == [("bea", 30), ("eve", 10)], "by user name"


@pytest.mark.parametrize("why", ["not ours now", "without our mark then", "a job without a cost"])
def test_of_whom_nobody_can_say_what_was_expected_the_balance_begins_anew(why: str) -> None:
    known = seen("70", marked=pl.lit(why != "without our mark then"))
    found = seen("60", 300).drop(balances.CARRIED)
    ours = pl.DataFrame({"username": ["bea" if why == "not ours now" else "ada"], "coworker_id": [1]})
    printed = revisions((0, False)).with_columns(cost=pl.lit(None, EXACT))
    frame = balances.carried(found, known, printed if "cost" in why else jobs([]), changes([]), ours)
    assert frame.select("expected", "fell_at").row(0) == (None, None)
    assert balances.fallen(frame, jobs([]), NOW + HOUR, HOUR).is_empty(), "and nobody is held"


def test_a_job_whose_cost_becomes_known_later_says_nothing_of_the_balance_before() -> None:
    later = revisions((-1, False), (0, False)).with_columns(cost=pl.when(revision=1).then("cost"))
    assert balances.fallen(seen("50"), later, NOW, HOUR).is_empty(), "it took 30, then or before"


def test_one_job_without_a_cost_explains_whatever_the_others_leave() -> None:
    priced = revisions((0, False))
    both = pl.concat([priced, priced.with_columns(job_id=pl.lit("2"), cost=pl.lit(None, EXACT))])
    assert balances.fallen(seen("50"), both, NOW, HOUR).is_empty()


def test_a_refund_read_after_the_balance_is_no_gift_however_little_is_printed_with_it() -> None:
    refund = revisions((-1, False), (0, True))
    cheap = refund.filter(revision=0).with_columns(
        job_id=pl.lit("2"), cost=pl.lit("0.5").cast(EXACT), first_seen_at=pl.lit(NOW, balances.TIME)
    )
    frame = later("129.5", seen("130"), pl.concat([refund, cheap]), [])
    assert frame["expected"].to_list() == [Decimal("129.5")]


@pytest.mark.parametrize(
    ("within", "wait"), [(balances.LOGGED_WITHIN, timedelta(hours=1)), (balances.IN_FILES_WITHIN, timedelta(days=2))]
)
def test_a_database_may_log_a_job_for_an_hour_and_files_come_within_two_days(
    within: timedelta, wait: timedelta
) -> None:
    times = [NOW + wait - SECOND, NOW + wait]
    told = [balances.fallen(seen("70"), jobs([]), time, within)["told"].item() for time in times]
    assert told == [False, True]
