"""The proofs of money safety in their long forms: how long each campaign goes on, what figure is wanted, its replay.

What belongs here: one function for each. What does not: what a campaign does (its own file), and the table of figures
(`__main__.py`).
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pipeline.dagster.runs import SYNC
from tests.campaign import directories, mutants, mutation, power, replay, runs, states
from tests.campaign.crashes import FAULTS, Crashes, crashing, pairs
from tests.campaign.model import VARIANTS, Step, Variant, Walk
from tests.campaign.organisations import organised, violation
from tests.campaign.reports import reporting
from tests.campaign.scale import Row, Say, Scale, folder_of_its_own
from tests.campaign.simulation import CHARGING, EVERYTHING, Simulation, simulated
from tests.campaign.syncs import syncing

BATCH = 8
"""Pairs of a point and a fault between two looks at the servers' ledgers."""

CHECK = 200
"""Steps of a story between two looks."""

ROUNDS = 25
"""Rounds of one ezeep organisation before another is made."""

LOT = 100
"""Random worlds that one process looks at before another sandbox is started."""


World = Callable[[Path], AbstractContextManager[Crashes]]


def model(_scale: Scale, _say: Say) -> Row:
    """Every order of three faults and three kills."""
    started, walk = time.monotonic(), Walk(Variant())
    verdict = walk.verdict(3, 3)
    older = Walk(Variant(restore=True)).verdict(3, 3)
    seconds = time.monotonic() - started
    noticed = sum(Walk(variant).verdict(2, 2)[1:3] != (0, 0) for variant in VARIANTS.values())
    wrong = verdict.double + verdict.lost + older.double + older.lost
    return Row(
        "exhaustive model, 3 faults x 3 kills", ">= 1,000,000 scenarios, 0 double, 0 lost, < 300 s",
        f"{verdict.scenarios + older.scenarios:,} scenarios ({walk.states:,} states), {verdict.double + older.double}"
        f" double, {verdict.lost + older.lost} lost, {seconds:.1f} s; {noticed} of {len(VARIANTS)} wrong programs seen",
        wrong == 0 and noticed == len(VARIANTS) and verdict.scenarios >= 1_000_000,
    )  # fmt: skip


def crashes(scale: Scale, say: Say, world_of: World = crashing) -> Row:
    """Every point with every fault."""
    end, done, bad = time.monotonic() + scale.minutes * 60, 0, ""
    with folder_of_its_own() as folder, world_of(folder) as world:
        points = world.points()
        every = pairs(points, scale.seed)
        while done < len(every) and time.monotonic() < end and not bad:
            batch = every[done : done + BATCH]
            if finding := world.broken(batch):
                bad = str(finding)
                say(f"seed {scale.seed}, pairs {done} to {done + len(batch)}: {batch}: {finding}")
            done += len(batch)
    return Row(
        f"crash points at {world.site}: {len(points)} points x {len(FAULTS)} faults",
        "100 % of pairs, 0 double, 0 lost",
        bad or f"{done} of {len(every)} pairs, {world.kills} kills, 0 double, 0 lost", not bad and done == len(every),
    )  # fmt: skip


def powerless(scale: Scale, say: Say) -> Row:
    """Every commit with every loss of power."""
    end, done, bad, chance = time.monotonic() + scale.minutes * 60, 0, "", random.Random(scale.seed)
    with folder_of_its_own() as folder, crashing(folder) as world:
        commits = world.commits()
        every = pairs(commits, scale.seed, tuple(power.LOSSES))
        while done < len(every) and time.monotonic() < end and not bad:
            if finding := world.powerless(*every[done], chance):
                bad = str(finding)
                say(f"seed {scale.seed}, loss {done}: {every[done]}: {finding}")
            done += 1
    return Row(
        f"loss of power: {len(commits)} commits x {len(power.LOSSES)} losses", "100 % of pairs, 0 double, 0 lost",
        bad or f"{done} of {len(every)} pairs, {world.kills} runs ended, {world.refused} backups restored, 0 double,"
        " 0 lost", not bad and done == len(every),
    )  # fmt: skip


class Goal(NamedTuple):
    """One story: how far it goes, and the time (of `time.time`) at which it ends all the same."""

    weights: Mapping[str, float]
    assets: tuple[str, ...]
    prints: int
    seed: int
    jobs: int
    kills: int
    steps: int
    end: float


class Told(NamedTuple):
    """What came of one story. `wrong` is what the servers' ledgers say against it, or nothing."""

    seed: int
    jobs: int
    kills: int
    faulted: int
    calls: int
    events: Counter[str]
    visits: set[str]
    steps: Counter[Step]
    unexplained: int
    wrong: str


def charging(scale: Scale, say: Say) -> Row:
    """Jobs by the thousand, a kill in most runs, a fifth of the calls faulted."""
    number = -(-scale.jobs // 5_000)
    goal = Goal(CHARGING, runs.CHARGES, 60, scale.seed, -(-scale.jobs // number), -(-scale.kills // number), 0, 0)
    told = _stories(goal, number, scale, say, "charging")
    jobs, kills = sum(each.jobs for each in told), sum(each.kills for each in told)
    calls, unexplained = sum(each.calls for each in told), sum(each.unexplained for each in told)
    share = sum(each.faulted for each in told) / max(calls, 1)
    wrong, saw = _judged(told, states.CHARGING, say)
    return Row(
        "simulation against the sandbox's ledger",
        f">= {scale.jobs:,} jobs, >= {scale.kills} kills, >= 20 % of calls faulted, 0 double, lost or unexplained,"
        " every state visited, all at rest two runs later",
        (f"{wrong}. " if wrong else "") + f"{jobs:,} jobs, {kills} kills, {share:.1%} of {calls:,} calls faulted,"
        f"{'' if wrong else ' 0 double, 0 lost,'} {unexplained} unexplained, {saw}, in {number} stories",
        not wrong and not unexplained and jobs >= scale.jobs and kills >= scale.kills and share >= 0.2,
    )  # fmt: skip


def stateful(scale: Scale, say: Say) -> Row:
    """Everything that people, servers and operators do, in any order."""
    number = -(-scale.steps // 2_500)
    goal = Goal(EVERYTHING, SYNC, 3, scale.seed, 0, 0, -(-scale.steps // number), 0)
    told = _stories(goal, number, scale, say, "stateful")
    happened = sum((each.events for each in told), Counter[str]())
    unexplained = sum(each.unexplained for each in told)
    events = ", ".join(f"{name} {count:,}" for name, count in sorted(happened.items()))
    wrong, saw = _judged(told, states.EVERYTHING, say)
    return Row(
        "stateful story", f">= {scale.steps:,} steps, 0 violations, every state visited, all at rest two runs later",
        wrong or f"{happened.total():,} steps, 0 violations, {unexplained} cents unexplained, {saw}, in"
        f" {len(told)} stories"
        f" ({events})", not wrong and not unexplained and happened.total() >= scale.steps,
    )  # fmt: skip


def _judged(told: Sequence[Told], wanted: Iterable[str], say: Say) -> tuple[str, str]:
    """What is wrong with some stories, in one sentence, and what they saw; each step that none took is said."""
    visits = set[str]().union(*(each.visits for each in told)).intersection(wanted)
    steps = sum((each.steps for each in told), Counter[Step]())
    for step in sorted(replay.known() - steps.keys(), key=str):
        came = f", where {step.came!r} had brought it," if step.came else ""
        say(f"no line took this step of the model: {step.kind} from {step.state}{came} to {step.to} by {step.cause!r}")
    wrong = [each for each in (*(each.wrong for each in told), states.never(visits, wanted)) if each]
    taken = len(replay.known() & steps.keys())
    saw = f"{len(visits)} states visited, {taken} of {len(replay.known())} steps of the model taken and no other"
    return "; ".join(wrong), saw


def _stories(goal: Goal, number: int, scale: Scale, say: Say, name: str) -> list[Told]:
    """So many stories, each with the next seed and a world of its own, as many at a time as there are cores."""
    goals = [goal._replace(seed=goal.seed + each, end=time.time() + scale.minutes * 60) for each in range(number)]
    told: list[Told] = []
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for each in pool.map(_story, goals):
            told.append(each)
            outcome = each.wrong or f"{each.unexplained} unexplained"
            say(f"seed {each.seed}: {each.events.total():,} steps, {each.jobs:,} jobs, {each.kills} kills: {outcome}")
            if each.wrong or each.unexplained:
                say(f"replay: python -m tests.campaign {name} --seed {each.seed} --jobs {goal.jobs} --kills"
                    f" {goal.kills} --steps {goal.steps}")  # fmt: skip
    return told


def _story(goal: Goal) -> Told:
    """Go on with a story until there is enough of it."""
    with (
        folder_of_its_own() as folder,
        simulated(folder, goal.seed, goal.weights, assets=goal.assets, prints=goal.prints) as told,
    ):
        try:
            wrong = _went_on(goal, told)
            unexplained = 0 if wrong else told.unexplained()
        except (AssertionError, RuntimeError) as error:  # lines that nothing settles, or a run that broke
            wrong, unexplained = f"step {told.happened.total()}: {error}", 0
        witness = told.witness
        return Told(
            goal.seed, len(told.made), told.kills, told.fired, told.calls(), told.happened, witness.visits,
            witness.steps, unexplained, wrong,
        )  # fmt: skip


def _went_on(goal: Goal, told: Simulation) -> str:
    """What the servers' ledgers say against the story at the end, or as soon as they do."""
    while time.time() < goal.end and (
        told.kills < goal.kills or len(told.made) < goal.jobs or told.happened.total() < goal.steps
    ):
        told.step()
        if told.happened.total() % CHECK == 0 and (finding := told.examine()):
            return f"step {told.happened.total()}: {finding}"
    return str(told.examine())


def seeded_bugs(_scale: Scale, say: Say) -> Row:
    """Each bug in a copy of the tree, with the test that must fail."""
    table = Table("bug", "noticed by", "killed")
    alive: list[str] = []
    for name, mutant in mutants.MUTANTS.items():
        with folder_of_its_own() as folder:
            dead = mutants.killed(mutant, folder)
        table.add_row(name, mutant.killer.split("::")[-1], "yes" if dead else "NO")
        alive += [] if dead else [name]
    Console(width=150).print(table)
    for name in alive:
        say(f"nobody notices {name!r}: pytest {mutants.MUTANTS[name].killer} in a tree with that bug")
    number = len(mutants.MUTANTS)
    return Row("seeded bugs", ">= 33, all killed", f"{number - len(alive)} of {number} killed", not alive)


def mutations(scale: Scale, say: Say) -> Row:
    """The small changes of rules, ledger and plan: all of them, or a sample that is told by its seed."""
    rooms = {"rules": mutation.rules(), "ledger": mutation.LEDGER, "plan": mutation.PLAN}
    paths = [path for room in rooms.values() for path in room]
    end, found, every = time.monotonic() + scale.minutes * 60, list[mutation.Trial](), mutation.every(paths)
    wanted = mutation.sampled(every, scale.sample, scale.seed)
    with (
        folder_of_its_own() as folder,
        mutation.trials(folder, budget=mutation.BUDGET if scale.sample else math.inf) as trials,
    ):
        for path, change in wanted:
            if time.monotonic() < end:
                found.append(trials.tried(path, change))
                if not found[-1].noticed:
                    say(str(found[-1]))
    missed = [each for each in found if not each.noticed]
    same = sum(mutation.known(each.path, each.change, (mutation.ROOT / each.path).read_bytes()) for each in missed)
    table = Table("module", "noticed")
    for path in paths:
        table.add_row(path, str(mutation.score(found, [path])))
    Console(width=150).print(table)
    whole = mutation.score(found, paths)
    parts = ", ".join(f"{name} {mutation.score(found, room)}" for name, room in rooms.items())
    parts += f"; {same} of the {len(missed)} missed change nothing"
    return Row(
        f"small changes of rules, ledger and plan ({len(every):,} in all)", ">= 90 % noticed", f"{whole}: {parts}",
        whole.share >= 0.9 and whole.tried == len(wanted),
    )  # fmt: skip


def overlap(scale: Scale, say: Say, world_of: World = crashing) -> Row:
    """Two to four processes that start within 50 ms."""
    end, chance, done, wrong = time.monotonic() + scale.minutes * 60, random.Random(scale.seed), 0, ""
    with folder_of_its_own() as folder, world_of(folder) as world:
        while done < scale.rounds and time.monotonic() < end and not wrong:
            world.prepare()
            begun = [runs.started(world.order()) for _ in range(chance.randint(2, 4))]
            for each in begun:
                runs.finished(each)
            done += 1
            if done % 10 == 0 and (finding := world.settled()):
                wrong = str(finding)
                say(f"seed {scale.seed}, round {done}: {finding}")
        wrong = wrong or str(world.settled())
    return Row(
        f"overlap of 2 to 4 processes at {world.site}", f"{scale.rounds} rounds, 0 double",
        wrong or f"{done} rounds, 0 double",
        not wrong and done >= scale.rounds,
    )  # fmt: skip


class Lot(NamedTuple):
    """Some random worlds, by their first seed, and the time (of `time.time`) at which it ends all the same."""

    seed: int
    worlds: int
    end: float


class Seen(NamedTuple):
    """What came of a lot."""

    worlds: int
    wrong: list[str]
    counts: Counter[str]


def users(scale: Scale, say: Say) -> Row:
    """Random worlds under the real sync, with short reads and writes that go wrong."""
    end, size = time.time() + scale.minutes * 60, max(1, min(LOT, scale.worlds // (os.cpu_count() or 1)))
    starts = range(0, scale.worlds, size)
    lots = [Lot(scale.seed + start, min(size, scale.worlds - start), end) for start in starts]
    seen: list[Seen] = []
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for each in pool.map(_lot, lots):
            seen.append(each)
            for sentence in each.wrong:
                say(sentence)
    done, bad = sum(each.worlds for each in seen), sum(len(each.wrong) for each in seen)
    total = sum((each.counts for each in seen), Counter[str]())
    counts = ", ".join(f"{name} {number:,}" for name, number in sorted(total.items()) if name != "worlds")
    return Row(
        "user sync on random worlds", f"{scale.worlds:,} worlds, 0 writes to unmanaged users, caps hold, second run 0",
        f"{done:,} worlds, {bad} violations ({counts})", not bad and done >= scale.worlds,
    )  # fmt: skip


def _lot(lot: Lot) -> Seen:
    """Look at one world after the other."""
    logging.disable(logging.CRITICAL)  # thousands of writes go wrong on purpose
    done, wrong = 0, list[str]()
    with folder_of_its_own() as folder, syncing(folder) as syncs:
        while done < lot.worlds and time.time() < lot.end and len(wrong) < 10:
            wrong += filter(None, [syncs.violation(lot.seed + done)])
            done += 1
        return Seen(done, wrong, Counter(syncs.seen))


def ezeep(scale: Scale, say: Say) -> Row:
    """Rounds in the life of ezeep organisations: hands, faults and kills, then rest."""
    end, done, wrong = time.monotonic() + scale.minutes * 60, 0, ""
    happened: Counter[str] = Counter()
    while done < scale.rounds and time.monotonic() < end and not wrong:
        with folder_of_its_own() as folder, organised(folder, scale.seed + done) as story:
            wrong = violation(story, ROUNDS)
            happened += story.happened
        done += ROUNDS
        say(wrong or f"seed {story.seed}: {ROUNDS} rounds, {story.happened.total()} events")
    counts = ", ".join(f"{name} {number:,}" for name, number in sorted(happened.items()))
    return Row(
        "users of ezeep organisations",
        f"{scale.rounds} rounds, 0 foreign users touched, no e-mail twice, everybody in place, at rest",
        wrong or f"{done} rounds, 0 violations ({counts})", not wrong and done >= scale.rounds,
    )  # fmt: skip


def reports(scale: Scale, say: Say) -> Row:
    """A story of a site on ezeep: jobs by the thousand, a kill now and then, a fifth of the calls faulted."""
    with folder_of_its_own() as folder, reporting(folder) as world:
        finding, share = world.story(scale.seed, scale.jobs, scale.minutes * 60), world.share()
        say(f"seed {scale.seed}: {finding or dict(world.happened)}")
    return Row(
        "charges from reports", f">= {scale.jobs:,} jobs, >= 20 % of writes faulted, 0 double, 0 lost",
        str(finding) or f"{2 * world.cycle:,} jobs, {world.kills} kills, {share:.1%} of {world.writes:,} writes"
        " faulted, 0 double, 0 lost", not finding and 2 * world.cycle >= scale.jobs and share >= 0.2,
    )  # fmt: skip


def plans(scale: Scale, say: Say) -> Row:
    """Random directories under the pure plan, and applied twice."""
    worlds = 5_000
    wrong = directories.violations(scale.seed, worlds)
    for sentence in wrong:
        say(sentence)
    reached = wrong[0] if wrong else f"{worlds:,} worlds, 0 writes to unmanaged users, caps hold, second run 0 writes"
    return Row("user sync plans on random directories", "5,000 worlds, 0 violations", reached, not wrong)


CAMPAIGNS: dict[str, Callable[[Scale, Say], Row]] = {
    "model": model, "plans": plans, "users": users, "ezeep": ezeep, "bugs": seeded_bugs, "mutation": mutations,
    "overlap": overlap, "crashes": crashes, "power": powerless, "charging": charging, "stateful": stateful,
    "ezeep-overlap": partial(overlap, world_of=reporting), "ezeep-crashes": partial(crashes, world_of=reporting),
    "ezeep-charging": reports,
}  # fmt: skip
