"""Crash points, the short form: every fault once, and a third of the points; `make bench-safety` takes every pair."""

from __future__ import annotations

import random
from pathlib import Path

from tests.campaign import power
from tests.campaign.crashes import FAULTS, crashing, pairs

SEED = 20261120


def test_no_kill_beside_a_fault_charges_twice_or_loses_a_job(folder: Path) -> None:
    with crashing(folder) as crashes:
        points = crashes.points()
        assert len(points) >= 24, f"only {len(points)} points were counted: {points}"
        chosen = pairs(points, SEED)
        batch = [next(pair for pair in chosen if pair[1] == fault) for fault in FAULTS]
        finding = crashes.broken(batch)
        assert not finding, f"seed {SEED}: {finding}; replay: python -m tests.campaign crashes --seed {SEED}"
        assert crashes.kills >= len(batch) // 2, f"only {crashes.kills} of {len(batch)} kills happened"


def test_no_loss_of_power_in_a_commit_charges_twice_or_loses_a_job(folder: Path) -> None:
    with crashing(folder) as crashes:
        commits = crashes.commits()
        assert len(commits) >= 6, f"only {len(commits)} commits were counted: {commits}"
        chance = random.Random(SEED)
        chosen = dict(zip(power.LOSSES, chance.sample(commits, len(power.LOSSES)), strict=True))
        for loss, point in chosen.items():
            finding = crashes.powerless(point, loss, chance)
            replay = f"replay: python -m tests.campaign power --seed {SEED}"
            assert not finding, f"seed {SEED}, {loss}, {point}: {finding}; {replay}"
        assert crashes.kills >= 3, f"only {crashes.kills} of {len(chosen)} losses happened"
        assert crashes.refused, "no warehouse was damaged so that an operator had to restore a backup"
