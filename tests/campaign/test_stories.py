"""Long stories in their short form: many kills and faults, and what the servers say at the end.

`make bench-safety` tells the long ones. A failure names its seed; `Simulation` tells the same story again.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.dagster.runs import SYNC
from tests.campaign.directories import violations
from tests.campaign.organisations import organised, violation
from tests.campaign.simulation import CHARGING, EVERYTHING, simulated
from tests.campaign.states import CHARGING as CHARGED
from tests.campaign.states import never
from tests.campaign.syncs import syncing

SEED = 20261120
REPLAY = f"replay: python -m tests.campaign {{}} --seed {SEED}"


LEFT_TO_LONG_STORIES = {
    "late row of a past day", "sale killed twice", "sale void before it was sent", "sale reversed before it was sent",
    "job changed while its charge waited", "job revised while its sale had no answer", "credit given back",
    "giving back and a use in one write", "giving back without an answer, marker found",
    "deletion without an answer, sale gone", "deletion answered with a failure, sale gone",
    "deletion answered with a failure, sale still there", "credit use refused with a reason",
    "credit use without an answer, marker found", "credit use answered with a failure, marker found",
    "credit use answered with a failure, credit unchanged", "credit unchanged, and written again",
    "sale not tried, as its chunk was throttled", "sale thrown back and sent again",
    "run ended by a read that failed", "uses of one credit in one write",
}  # fmt: skip
"""States that a short story may miss: they take a certain job, or two accidents to the same line."""


RESTORED = (
    "credit write and a top-up crossed", "free job waived", "held: above the largest charge", "held: too few credits",
    "held: customer gone", "held line decided again", "held line waived by a person",
    "customer left with an open charge", "user removed", "sale deleted by staff", "deleted sale charged again",
    "stopped: a restored backup", "charges refused while stopped", "sale recovered by its reference",
    "credit use recovered, and confirmed by a person", "stopped: credits in doubt after a recovery",
    "resumption spent",
)  # fmt: skip
"""States that a story with an older warehouse cannot miss."""


def test_people_print_while_servers_misbehave_and_runs_are_killed(folder: Path) -> None:
    with simulated(folder, SEED, CHARGING, prints=15, faulted=0.35) as story:
        for event in ("gauntlet", "run", "correct", "gauntlet"):
            getattr(story, f"_{event}")()
        while story.happened["kill"] < 14:
            story.step()
        finding = story.examine()
        assert not finding, f"{finding}; {REPLAY.format('charging')}"
        assert story.kills >= 8, f"only {story.kills} runs were killed"
        assert story.fired >= 0.2 * story.calls(), f"only {story.fired} of {story.calls()} calls were faulted"
        assert story.unexplained() == 0
        missed = never(story.witness.visits, CHARGED.keys() - LEFT_TO_LONG_STORIES)
        assert not missed, f"{missed}; {REPLAY.format('charging')}"


def test_an_older_warehouse_in_the_middle_of_a_story_doubles_and_loses_nothing(folder: Path) -> None:
    with simulated(folder, SEED, EVERYTHING, assets=SYNC, prints=6) as story:
        begin = ("prints", "free_print", "overdraw", "desert", "pause", "pause", "run", "back_up", "prints")
        for event in (*begin, "big_print", "big_print", "cross", "kill", "restore", "strike", "prints"):
            getattr(story, f"_{event}")()
        finding = story.examine()
        assert not finding, f"{finding}; {REPLAY.format('stateful')}"
        missed = never(story.witness.visits, RESTORED)
        assert not missed, f"{missed}; {REPLAY.format('stateful')}"


def test_the_user_sync_on_random_worlds_writes_to_nobody_who_is_not_ours(folder: Path) -> None:
    with syncing(folder) as syncs:
        wrong = [found for number in range(25) if (found := syncs.violation(SEED + number))]
        assert wrong == [], "\n".join(wrong)
        for what in ("short reads", "writes gone wrong", "stops", "users made", "users removed", "users renamed"):
            assert syncs.seen[what], f"25 worlds without {what} prove little: {syncs.seen}"


def test_random_directories_never_touch_a_user_that_is_not_ours() -> None:
    assert violations(SEED, 150) == []


def test_the_users_of_an_organisation_under_faults_kills_and_hands(folder: Path) -> None:
    with organised(folder, SEED) as story:
        assert violation(story, 12) == ""
        for what in ("faults", "killed", "delete", "namesake", "rename"):
            assert story.happened[what], f"12 rounds without {what!r} prove little: {story.happened}"
