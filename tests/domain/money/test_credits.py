"""Credits: validity, pooling, and allocation against a plain reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.money.credits import Policy, oversized_grants, payment, usable, valid
from tests.frames import NOW, TIME, grants, moment, rules, shuffled, table, uses

JOBS = pl.Schema({"job_id": pl.String, "email_key": pl.String, "printed_at": TIME, "cost_cents": pl.Int64})
POOL = pl.Schema(
    {
        "credit_id": pl.Int64, "email_key": pl.String, "remaining_cents": pl.Int64, "valid_from": TIME,
        "expires_at": TIME,
    }
)  # fmt: skip
LINES = pl.Schema({"job_id": pl.String, "credit_id": pl.Int64, "used_cents": pl.Int64})


def allocate(jobs: pl.DataFrame, grants: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The credits that pay for jobs."""
    return payment(jobs, grants, policy).lines


def queue(text: str) -> pl.DataFrame:
    return table(JOBS, text, email_key="a", printed_at=moment("11-20T09:00"))


def pool(text: str) -> pl.DataFrame:
    return table(POOL, text, email_key="a")


def lines(text: str) -> list[tuple[Any, ...]]:
    return table(LINES, text).rows()


# --- what is left -----------------------------------------------------------------------------------------------------


def test_left_is_the_extract_less_our_use_that_it_does_not_contain() -> None:
    granted = grants("credit_id remaining_uses\n1 45\n2 20\n3 5\n4 5\n5 1\n6 0")
    used = uses("credit_id open_cents\n1 5\n1 10\n2 -7\n3 9\n4 5")
    left = usable(granted, used, rules()).sort("credit_id")
    assert left.select("credit_id", "remaining_cents").rows() == [(1, 30), (2, 27), (5, 1)], (
        "3, 4 and 6 are used up, never below 0"
    )


@pytest.mark.parametrize(
    ("valid_from", "expires_at", "counts"),
    [
        ("-", "-", True),
        ("11-20T12:00", "-", True),
        ("11-20T12:01", "-", False),
        ("-", "11-20T12:00", False),
        ("-", "11-20T12:01", True),
    ],
)
def test_a_grant_is_valid_from_its_first_moment_until_before_its_last(
    valid_from: str, expires_at: str, counts: bool
) -> None:
    granted = grants(f"credit_id valid_from expires_at\n1 {valid_from} {expires_at}")
    assert valid(granted, uses(), rules(), NOW).height == counts


def test_only_the_credits_of_the_site_count_and_only_in_models_with_credits() -> None:
    granted = grants("credit_id extra_service_id\n1 7\n2 8")
    assert usable(granted, uses(), rules())["credit_id"].to_list() == [1]
    assert usable(granted, uses(), rules(credit_ids=(7, 8))).height == 2
    assert usable(granted, uses(), rules("pay_per_print")).is_empty()
    assert usable(granted, uses(), rules("free_unlimited")).is_empty()


def test_a_grant_above_the_limit_is_not_counted_but_reported() -> None:
    granted = grants("credit_id total_uses remaining_uses\n1 100000 100000\n2 100001 5\n3 10 100001")
    assert usable(granted, uses(), rules())["credit_id"].to_list() == [1]
    assert oversized_grants(granted, rules())["credit_id"].to_list() == [2, 3]
    assert oversized_grants(granted, rules("pay_per_print")).is_empty(), "credits mean nothing there"


# --- allocation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("ignore", "job_id credit_id used_cents\n1 1 30\n3 1 15"),
        ("use", "job_id credit_id used_cents\n1 1 30\n2 1 15"),
    ],
)
def test_a_job_that_is_covered_in_part(policy: Any, expected: str) -> None:
    """30 of 45 go to the first job; the second costs 20 and 15 are left; the third costs 15."""
    paid = allocate(queue("job_id cost_cents\n1 30\n2 20\n3 15"), pool("credit_id remaining_cents\n1 45"), policy)
    assert paid.rows() == lines(expected)


def test_the_earliest_expiry_pays_first_and_no_expiry_last() -> None:
    granted = pool(
        """
        credit_id remaining_cents expires_at
        1         10              -
        4         10              12-01T00:00
        3         10              12-01T00:00
        2         10              11-25T00:00
        """
    )
    paid = allocate(queue("job_id cost_cents\n1 35"), granted, "ignore")
    assert paid["credit_id"].to_list() == [2, 3, 4, 1]
    assert paid["used_cents"].to_list() == [10, 10, 10, 5]


def test_a_grant_pays_only_jobs_printed_while_it_is_valid() -> None:
    granted = pool(
        """
        credit_id remaining_cents valid_from  expires_at
        1         100             -           11-10T00:00
        2         100             11-10T00:00 11-20T00:00
        """
    )
    printed = queue(
        """
        job_id printed_at  cost_cents
        1      11-09T23:59 40
        2      11-10T00:00 70
        3      11-15T00:00 40
        4      11-19T23:59 30
        5      11-20T00:00 1
        """
    )
    assert allocate(printed, granted, "ignore").rows() == lines("job_id credit_id used_cents\n1 1 40\n2 2 70\n4 2 30")
    assert allocate(printed, granted, "use").rows() == lines("job_id credit_id used_cents\n1 1 40\n2 2 70\n3 2 30")


@pytest.mark.parametrize("policy", ["ignore", "use"])
def test_a_credit_that_is_not_used_keeps_every_cent_when_another_ends(policy: Policy) -> None:
    granted = pool("credit_id remaining_cents expires_at\n1 10 11-20T10:00\n2 45 -")
    printed = queue("job_id printed_at cost_cents\n1 11-20T09:00 10\n2 11-20T11:00 45")
    assert allocate(printed, granted, policy).rows() == lines("job_id credit_id used_cents\n1 1 10\n2 2 45")
    dear = queue("job_id printed_at cost_cents\n1 11-20T09:00 54\n2 11-20T11:00 1")
    assert allocate(dear, granted, policy).rows() == lines("job_id credit_id used_cents\n1 1 10\n1 2 44\n2 2 1")


@pytest.mark.parametrize("policy", ["ignore", "use"])
def test_a_credit_that_is_used_up_pays_nothing_when_another_begins(policy: Policy) -> None:
    granted = pool("credit_id remaining_cents valid_from\n1 10 -\n2 45 11-20T10:00\n3 5 -")
    printed = queue("job_id printed_at cost_cents\n1 11-20T09:00 12\n2 11-20T11:00 20")
    assert allocate(printed, granted, policy).rows() == lines("job_id credit_id used_cents\n1 1 10\n1 3 2\n2 2 20")


@pytest.mark.parametrize("policy", ["ignore", "use"])
def test_everybody_pays_with_credits_of_their_own_in_their_own_order(policy: Policy) -> None:
    granted = pool("credit_id email_key remaining_cents\n1 b 10\n2 a 10\n3 b 10\n4 a 10\n5 a 10\n6 c 10")
    printed = queue("job_id email_key cost_cents\n1 b 15\n2 a 10\n3 c 10\n4 b 5\n5 a 5\n6 d 1")
    assert allocate(printed, granted, policy).rows() == lines(
        "job_id credit_id used_cents\n2 2 10\n5 4 5\n1 1 10\n1 3 5\n4 3 5\n3 6 10"
    )


def test_jobs_of_one_minute_take_their_turn_by_job_id() -> None:
    paid = allocate(queue("job_id cost_cents\n12 30\n11 30"), pool("credit_id remaining_cents\n1 45"), "ignore")
    assert paid["job_id"].to_list() == ["11"]


def test_what_was_left_is_told_for_every_job() -> None:
    paid = payment(queue("job_id cost_cents\n1 30\n2 20\n3 15\n4 1"), pool("credit_id remaining_cents\n1 45"), "ignore")
    assert dict(paid.left.rows()) == {"1": 45, "2": 15, "3": 15, "4": 0}


def test_nothing_to_pay_or_nothing_to_pay_with() -> None:
    assert allocate(JOBS.to_frame(), pool("credit_id remaining_cents\n1 45"), "use").is_empty()
    assert allocate(queue("job_id cost_cents\n1 30"), POOL.to_frame(), "use").is_empty()
    assert payment(queue("job_id cost_cents\n1 30"), POOL.to_frame(), "ignore").left.rows() == [("1", 0)]


# --- against a plain reference ----------------------------------------------------------------------------------------


@dataclass
class Grant:
    credit_id: int
    email_key: str
    remaining_cents: int
    valid_from: datetime | None
    expires_at: datetime | None


@dataclass
class World:
    jobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    grants: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def reference(world: World, policy: str) -> list[tuple[str, int, int]]:
    """The rule, job by job and grant by grant."""
    stock = [Grant(**grant) for grant in world.grants]
    out: list[tuple[str, int, int]] = []
    for job in sorted(world.jobs, key=lambda job: (job["printed_at"], job["job_id"])):
        usable_now = [
            grant
            for grant in stock
            if grant.email_key == job["email_key"]
            and (grant.valid_from is None or grant.valid_from <= job["printed_at"])
            and (grant.expires_at is None or job["printed_at"] < grant.expires_at)
        ]
        usable_now.sort(key=lambda g: (g.expires_at is None, g.expires_at or job["printed_at"], g.credit_id))
        due = job["cost_cents"]
        if policy == "ignore" and sum(grant.remaining_cents for grant in usable_now) < due:
            continue
        for grant in usable_now:
            used = min(due, grant.remaining_cents)
            if used:
                out.append((job["job_id"], grant.credit_id, used))
                grant.remaining_cents -= used
                due -= used
    return out


DAYS = st.integers(0, 6).map(lambda day: NOW + timedelta(days=day))
WORLDS = st.builds(
    World,
    jobs=st.lists(
        st.fixed_dictionaries(
            {
                "job_id": st.integers(0, 999).map(str), "email_key": st.sampled_from("abcd"), "printed_at": DAYS,
                "cost_cents": st.integers(1, 12),
            }
        ),
        max_size=36,
        unique_by=lambda job: job["job_id"],
    ),
    grants=st.lists(
        st.fixed_dictionaries(
            {
                "credit_id": st.integers(1, 99), "email_key": st.sampled_from("abcd"),
                "remaining_cents": st.integers(0, 20), "valid_from": st.none() | DAYS, "expires_at": st.none() | DAYS,
            }
        ),
        max_size=16,
        unique_by=lambda grant: grant["credit_id"],
    ),
)  # fmt: skip


@settings(max_examples=700, deadline=None)
@given(world=WORLDS, policy=st.sampled_from(["ignore", "use"]), seed=st.integers(0, 9))
def test_allocation_equals_the_plain_reference(world: World, policy: Any, seed: int) -> None:
    printed = pl.DataFrame(world.jobs, schema=JOBS, orient="row")
    granted = pl.DataFrame(world.grants, schema=POOL, orient="row")
    paid = allocate(shuffled(printed, seed), shuffled(granted, seed), policy)
    in_turn = sorted(world.jobs, key=lambda job: (job["email_key"], job["printed_at"], job["job_id"]))
    turn = {job["job_id"]: place for place, job in enumerate(in_turn)}
    expected = sorted(reference(world, policy), key=lambda line: turn[line[0]])  # stable: keeps the order of use
    assert paid.rows() == expected
    spent = paid.group_by("credit_id").agg(pl.col("used_cents").sum()).join(granted, on="credit_id")
    assert spent.filter(pl.col("used_cents") > pl.col("remaining_cents")).is_empty(), "a credit went below 0"
