"""Reasons and holds: which of them mean that somebody prints who should not."""

from __future__ import annotations

from pipeline.domain.people.reasons import FAULTS, HOLDS, LEAVES, REASONS, STAYS


def test_only_a_leaver_out_of_reach_and_a_balance_that_fell_cannot_wait() -> None:
    assert [code for code, hold in HOLDS.items() if hold.red] == ["lost_leaver", "fell"]


def test_a_reason_removes_its_user_or_leaves_it_alone_and_a_fault_never_removes() -> None:
    assert set(LEAVES).isdisjoint(STAYS)
    assert set(LEAVES) | set(STAYS) <= set(REASONS)
    assert set(FAULTS).isdisjoint({"archived", "suspended", "no_access", "no_credit"})
