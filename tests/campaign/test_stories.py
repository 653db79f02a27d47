"""Long stories in their short form: many kills and faults, and what the servers say at the end.

`make bench-safety` tells the long ones. A failure names its seed; `Simulation` tells the same story again.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.dagster.runs import SYNC
from tests.campaign.directories import violations
from tests.campaign.simulation import CHARGING, EVERYTHING, simulated
from tests.campaign.syncs import syncing

SEED = 20261120
REPLAY = f"replay: python -m tests.campaign {{}} --seed {SEED}"


def test_people_print_while_servers_misbehave_and_runs_are_killed(folder: Path) -> None:
    with simulated(folder, SEED, CHARGING, prints=15, faulted=0.35) as story:
        while story.happened["kill"] < 14:
            story.step()
        finding = story.examine()
        assert not finding, f"{finding}; {REPLAY.format('charging')}"
        assert story.kills >= 8, f"only {story.kills} runs were killed"
        assert story.fired >= 0.2 * story.calls(), f"only {story.fired} of {story.calls()} calls were faulted"
        assert story.unexplained() == 0


def test_an_older_warehouse_in_the_middle_of_a_story_doubles_and_loses_nothing(folder: Path) -> None:
    with simulated(folder, SEED, EVERYTHING, assets=SYNC, prints=6) as story:
        for event in ("prints", "pause", "run", "back_up", "prints", "top_up", "kill", "restore", "prints"):
            getattr(story, f"_{event}")()
        finding = story.examine()
        assert not finding, f"{finding}; {REPLAY.format('stateful')}"


def test_the_user_sync_on_random_worlds_writes_to_nobody_who_is_not_ours(folder: Path) -> None:
    with syncing(folder) as syncs:
        wrong = [found for number in range(25) if (found := syncs.violation(SEED + number))]
        assert wrong == [], "\n".join(wrong)
        for what in ("short reads", "writes gone wrong", "stops", "users made", "users removed", "users renamed"):
            assert syncs.seen[what], f"25 worlds without {what} prove little: {syncs.seen}"


def test_random_directories_never_touch_a_user_that_is_not_ours() -> None:
    assert violations(SEED, 150) == []
