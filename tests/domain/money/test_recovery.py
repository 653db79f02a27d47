"""What a lost or restored ledger cannot prove: which credit lines a person has to decide, and that nothing else moves.

The history after the backup is made by the real rules; recovery then sees only what both services would show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.money import recovery
from pipeline.domain.money.references import reference, site_code
from pipeline.domain.money.reversals import RETRIED, standing, taken_back
from tests.frames import LEDGER, NOW, World, customers, grants, jobs, ledger, names_of, short

PEOPLE = customers("coworker_id pay\n1 n\n2 y\n3 y")
"""1 has credits, 2 has credits and pays what they leave, 3 pays."""

CREDITS = grants("credit_id coworker_id remaining_uses\n71 1 90000\n72 2 90000")


@dataclass(frozen=True)
class Past:
    """A site whose ledger is put back to `backup` while its world has gone on to `world`."""

    world: World
    backup: pl.DataFrame

    @staticmethod
    def begin(rows: str) -> Past:
        """Jobs that were charged before the backup."""
        past = Past(World(PEOPLE, jobs(rows), CREDITS), ledger()).charged()
        return replace(past, backup=past.world.ledger)

    def change(self, **columns: Any) -> Past:
        """Every job changes in PaperCut, and is read again."""
        return self.changed(self.world.jobs.with_columns(revision=pl.col("revision") + 1, **columns))

    def changed(self, rows: pl.DataFrame) -> Past:
        return replace(self, world=self.world.but(jobs=rows))

    def charged(self) -> Past:
        """A run: every line is done, and the credits are used or given back and name their last line."""
        lines = self.world.charge()
        done = lines.with_columns(state=pl.when(pl.col("state") == "held").then("state").otherwise(pl.lit("confirmed")))
        moved = done.filter(pl.col("credit_id").is_not_null()).sort("ref").group_by("credit_id").agg(
            back=pl.when(pl.col("kind") == "credit").then(-pl.col("amount_cents")).otherwise("amount_cents").sum(),
            last=pl.col("ref").last(),
        )  # fmt: skip
        credits_ = self.world.grants.join(moved, on="credit_id", how="left").select(
            pl.exclude("remaining_uses", "back", "last", "last_use"),
            remaining_uses=pl.col("remaining_uses") + pl.col("back").fill_null(0),
            last_use=pl.coalesce("last", "last_use"),
        )  # fmt: skip
        world = self.world.enter(done).but(grants=credits_.select(self.world.grants.columns))
        return replace(self, world=world)

    def site(self, lines: pl.DataFrame) -> recovery.Site:
        names = names_of(self.world.customers)
        held_by = self.world.customers.select("coworker_id", "email_key")
        credits_ = self.world.grants.join(held_by, on="coworker_id")
        return recovery.Site(self.world.rules, NOW, self.world.jobs, names, credits_, lines)

    def proved(self) -> pl.DataFrame:
        """The backup's ledger with what the sales in Nexudus prove."""
        undone = standing(self.world.ledger).filter(stands="undone")["ref"].to_list()
        sold = standing(self.world.ledger).filter(stands="live", kind="sale", state="confirmed")
        new = sold.join(self.backup, on="ref", how="anti").with_columns(
            revision=pl.lit(-1, pl.Int64), rule=pl.lit("recovered")
        )
        lines = pl.concat([self.backup, new.select(LEDGER.names())])
        gone = lines.filter(pl.col("ref").is_in(undone), kind="sale")["ref"].to_list()
        return pl.concat([lines, ledger(recovery.reversed_sales(self.site(lines), gone))])

    def recovered(self) -> pl.DataFrame:
        """What a person has to decide."""
        return tables.checked("print_charges", recovery.unproven(self.site(self.proved())))

    def decided(self, state: str = "confirmed") -> World:
        """The world once a person gave every line the same answer."""
        lines = pl.concat([self.proved(), ledger(self.recovered())])
        recovered = (pl.col("rule") == recovery.RULE) & (pl.col("state") == "held")
        return self.world.but(
            ledger=lines.with_columns(state=pl.when(recovered).then(pl.lit(state)).otherwise("state"))
        )


def kinds(lines: pl.DataFrame) -> list[str]:
    return [f"{job} {kind} {cents}" for job, kind, _, cents, _, _ in short(lines)]


def standing_cents(lines: pl.DataFrame) -> dict[str, int]:
    stands = standing(lines).filter(stands="live").group_by("job_id").agg(pl.sum("amount_cents"))
    return {job: cents for job, cents in stands.rows() if cents}


ONE = "job_id username cost\n1 c1@example.com 50"


def test_a_use_whose_job_was_refunded_since_is_not_given_back_twice() -> None:
    past = Past.begin(ONE).change(refunded=True).charged()
    assert kinds(past.recovered()) == ["1 undo_credit 50"]
    (reason,) = past.recovered()["reason"]
    assert "credit 71 names this line as its last" in reason
    assert past.decided().charge().is_empty()


def test_a_refund_that_was_not_yet_given_back_is_given_back_on_retry() -> None:
    past = Past.begin(ONE).change(refunded=True)
    (line,) = past.recovered().iter_rows(named=True)
    assert (line["kind"], line["amount_cents"], line["credit_id"]) == ("undo_credit", 50, 71)
    assert line["reason"].startswith("recovered: the job changed after 50 cents of credits had paid for it")
    assert past.decided("priced").charge().is_empty(), "the line that is retried is the only reversal"


def test_a_use_whose_job_has_no_cost_any_more_may_have_been_given_back() -> None:
    past = Past.begin(ONE).change(cost=pl.lit(None, pl.Decimal(18, 6)))
    assert kinds(past.world.charge()) == ["1 sale 0", "1 undo_credit 50"]
    assert kinds(past.recovered()) == ["1 undo_credit 50"]


def test_a_job_that_costs_something_else_since_is_neither_given_back_nor_used_twice() -> None:
    past = Past.begin(ONE).change(cost=pl.lit(Decimal(30))).charged()
    assert kinds(past.recovered()) == ["1 credit 30", "1 undo_credit 50"]
    assert past.recovered()["ref"].is_sorted()
    assert past.decided().charge().is_empty()
    assert standing_cents(past.decided().ledger) == {"1": 30}


def test_the_new_use_of_a_job_whose_use_still_stands_has_the_next_number() -> None:
    recovered = Past.begin(ONE).change(cost=pl.lit(Decimal(80))).recovered()
    assert kinds(recovered) == ["1 credit 80", "1 undo_credit 50"]
    assert set(recovered["ref"]) == {
        reference("london", "1", "credit", 1), reference("london", "1", "undo_credit", 0),
    }  # fmt: skip


def test_a_job_since_the_backup_is_not_charged_again() -> None:
    past = Past.begin("job_id username cost")
    past = past.changed(jobs(ONE)).charged()
    assert kinds(past.recovered()) == ["1 credit 50"]
    assert past.recovered()["ref"].to_list() == [reference("london", "1", "credit", 0)]
    world = past.decided()
    assert world.charge().is_empty()
    refunded = world.but(jobs=past.change(refunded=True).world.jobs).charge()
    assert kinds(refunded) == ["1 undo_credit 50"], "a later refund gives back what a person confirmed"


def test_the_use_that_a_credit_names_is_given_back_once_a_person_confirmed_it() -> None:
    past = Past.begin("job_id username cost").changed(jobs(ONE)).charged().change(refunded=True)
    past = past.changed(past.world.jobs.with_columns(revision=pl.lit(0, pl.Int64)))  # the warehouse was lost as a whole
    assert kinds(past.recovered()) == ["1 credit 50"]
    assert kinds(past.decided().charge()) == ["1 undo_credit 50"]
    assert kinds(past.decided("void").charge()) == []


def test_money_needs_no_person() -> None:
    past = Past.begin("job_id username cost\n3 c3@example.com 50\n4 c3@example.com 20")
    past = past.change(cost=pl.col("cost") + 5).charged()
    assert past.recovered().is_empty()
    assert past.decided().charge().is_empty()
    assert standing_cents(past.decided().ledger) == {"3": 55, "4": 25}


def test_the_reversal_of_a_sale_that_is_gone_with_its_job_is_done() -> None:
    past = Past.begin("job_id username cost\n1 c3@example.com 50")
    sale = past.backup["ref"].to_list()
    assert recovery.reversed_sales(past.site(past.backup), sale).is_empty(), "a person deleted it"
    found = recovery.reversed_sales(past.change(refunded=True).site(past.backup), sale)
    assert short(found) == [("1", "undo_sale", 0, 50, "confirmed", "recovered")]
    assert found["undoes"].to_list() == sale


def test_money_for_a_job_that_changed_once_more_is_corrected() -> None:
    past = Past.begin("job_id username cost\n3 c3@example.com 50").change(cost=pl.lit(Decimal(40))).charged()
    past = past.change(cost=pl.lit(Decimal(30)))
    assert kinds(past.decided().charge()) == ["3 sale 30", "3 undo_sale 40"]


def test_a_sale_that_a_person_deleted_stays_for_the_reconciliation() -> None:
    past = Past.begin("job_id username cost\n3 c3@example.com 50")
    (ref,) = past.backup["ref"]
    assert recovery.reversed_sales(past.site(past.backup), [ref]).is_empty()


def test_what_a_person_decided_is_not_asked_again() -> None:
    past = Past.begin(ONE).change(cost=pl.lit(Decimal(30)))
    voided = past.backup.with_columns(state=pl.lit("void"))
    assert recovery.unproven(past.site(voided)).is_empty()


def test_a_reference_of_a_job_that_the_log_lacks_is_shown() -> None:
    past = Past.begin("job_id username cost").changed(jobs(ONE)).charged().changed(jobs("job_id"))
    (line,) = past.recovered().iter_rows(named=True)
    assert (line["job_id"], line["kind"], line["amount_cents"], line["printed_at"]) == ("1", "credit", 0, NOW)
    assert (line["revision"], line["username"]) == (0, "")


def test_a_use_that_a_credit_names_for_a_job_that_money_paid_is_of_an_unknown_amount() -> None:
    past = Past.begin("job_id username cost\n1 c3@example.com 50")
    named = CREDITS.with_columns(last_use=pl.when(credit_id=72).then(pl.lit(reference("london", "1", "credit", 0))))
    past = replace(past, world=past.world.but(grants=named))
    (line,) = past.recovered().iter_rows(named=True)
    assert (line["kind"], line["amount_cents"], line["revision"], line["credit_id"]) == ("credit", 0, 0, 72)
    assert (line["coworker_id"], line["email_key"]) == (3, "c3@example.com"), "the job is that of who printed it"
    assert line["credit_coworker_id"] == 2


def test_a_reversal_that_a_credit_names_gave_back_nobody_knows_how_much() -> None:
    past = Past.begin("job_id username cost").changed(jobs(ONE)).charged().change(refunded=True).charged()
    (line,) = past.recovered().iter_rows(named=True)
    assert (line["kind"], line["amount_cents"], line["revision"]) == ("undo_credit", 0, 1)


def asked(credits_: str, *, job: str = ONE, team: bool = False) -> list[tuple[int, int, int]]:
    """Who is asked about which credit of whom, where nothing but the log and the credits is left."""
    past = Past(World(PEOPLE, jobs(job), grants(credits_)), ledger())
    shares = pl.DataFrame([("c1@example.com", 2)] if team else [], schema=recovery.SHARING, orient="row")
    site = replace(past.site(past.proved()), sharing=shares)
    found = recovery.unproven(site)
    assert found["ref"].to_list() == [reference("london", "1", "credit", 0)][: found.height]
    return found.select("coworker_id", "credit_id", "credit_coworker_id").rows()


@pytest.mark.parametrize(
    ("credits_", "credit"),
    [
        ("71 - -\n73 - 12-31T00:00", 73),
        ("71 - 12-31T00:00\n73 - 12-30T00:00", 73),
        ("73 - -\n71 - -", 71),
        ("71 - 11-01T00:00\n73 - -", 73),
        ("71 11-20T09:01 -\n73 - -", 73),
        ("71 11-20T09:00 11-20T09:01\n73 - -", 71),
        ("73 - 11-01T00:00", 73),
    ],
    ids=["an expiry", "the earlier expiry", "the lower id", "not expired", "begun", "just valid", "if none is valid"],
)
def test_the_credit_that_would_have_paid_is_the_one_that_is_asked_about(credits_: str, credit: int) -> None:
    assert asked(f"credit_id valid_from expires_at\n{credits_}") == [(1, credit, 1)]


def test_of_two_credits_that_name_a_job_the_later_use_is_the_one_that_paid() -> None:
    first, second = (reference("london", "1", "credit", seq) for seq in (1, 2))
    past = Past(World(PEOPLE, jobs(ONE), grants(f"credit_id last_use\n73 {first}\n71 {second}")), ledger())
    found = recovery.unproven(past.site(past.proved())).select("ref", "credit_id", "amount_cents").rows()
    assert sorted(found) == [(first, 73, 0), (second, 71, 50)]


def test_a_credit_names_a_line_of_this_site_if_it_names_a_use_or_its_reversal() -> None:
    named = [("london", "credit"), ("london", "undo_credit"), ("leeds", "credit"), ("london", "sale")]
    rows = [f"{number} {reference(site, '1', kind, 0)}" for number, (site, kind) in enumerate(named)]
    found = grants("\n".join(["credit_id last_use", *rows])).with_columns(email_key=pl.lit("c1@example.com"))
    assert recovery.last_lines(found, site_code("london"))["credit_id"].to_list() == [0, 1]
    twice = pl.concat([found, found.with_columns(credit_id=pl.col("credit_id") + 10)])
    assert recovery.last_lines(twice, site_code("london"))["credit_id"].to_list() == [0, 1], "a line is of one credit"


def test_a_credit_of_the_team_is_asked_about_where_the_customer_has_none_of_its_own() -> None:
    of_payer = "credit_id coworker_id expires_at\n72 2 12-01T00:00"
    assert asked(of_payer) == []
    assert asked(of_payer, team=True) == [(1, 72, 2)]
    assert asked(f"{of_payer}\n71 1 -", team=True) == [(1, 71, 1)]


@pytest.mark.parametrize(
    ("printed_at", "number"), [("11-20T11:30", 1), ("11-20T11:31", 0), ("01-01T00:00", 1)]
)  # fmt: skip
def test_only_mature_jobs_since_charge_from_are_asked_about(printed_at: str, number: int) -> None:
    job = f"job_id username cost printed_at\n1 c1@example.com 50 {printed_at}"
    assert len(asked("credit_id\n71", job=job)) == number


def test_jobs_of_nobody_and_of_shared_accounts_are_not_asked_about() -> None:
    assert asked("credit_id\n71", job="job_id username\n1 staff") == []
    assert asked("credit_id\n71", job="job_id shared_account\n1 y") == []
    assert asked("credit_id\n71", job="job_id refunded\n1 y") == []
    assert asked("credit_id\n71", job="job_id cost\n1 0") == []
    assert asked("credit_id\n71", job="job_id cost\n1 1") == [(1, 71, 1)], "a cent is asked about"
    named = f"credit_id last_use\n71 {reference('london', '1', 'credit', 0)}"
    assert asked(named, job="job_id username\n1 staff") == [(1, 71, 1)], "whose credit names the job, had it"


def test_a_job_is_that_of_whom_it_was_charged_to_last() -> None:
    first = Past.begin(ONE).world
    other = first.ledger.with_columns(
        revision=pl.lit(1, pl.Int64), seq=pl.lit(1, pl.Int64), coworker_id=pl.lit(2, pl.Int64),
        email_key=pl.lit("c2@example.com"), ref=pl.lit(reference("london", "1", "credit", 1)),
    )  # fmt: skip
    used = pl.concat([other, first.ledger])
    back = taken_back(used.select(tables.columns("print_charges").names()), RETRIED)
    past = Past(first.but(grants=CREDITS), pl.concat([used, ledger(back, undo_credit="confirmed")]))
    found = recovery.unproven(past.site(past.backup))
    assert found.select("coworker_id", "credit_id", "seq", "email_key").rows() == [(2, 72, 2, "c2@example.com")]


def test_the_last_use_that_a_reference_has_a_number_for_is_asked_about() -> None:
    last = reference("london", "1", "credit", 35)
    past = Past(World(PEOPLE, jobs(ONE), grants(f"credit_id last_use\n71 {last}")), ledger())
    found = recovery.unproven(past.site(past.proved()))
    assert found.select("ref", "seq", "amount_cents").rows() == [(last, 35, 50)]


def test_a_new_line_never_takes_a_reference_that_a_recovered_reversal_has() -> None:
    past = Past.begin(ONE)
    for cost in (30, 50):  # back to what it was: the ledger looks right, and credit 71 names the second reversal
        past = past.change(cost=pl.lit(Decimal(cost))).charged()
    world = past.decided()
    again = world.but(jobs=past.change(cost=pl.lit(Decimal(20))).world.jobs).charge()
    assert not set(again["ref"]) & set(world.ledger["ref"])


Job = tuple[str, int]
Change = tuple[int, bool, int]

people = st.sampled_from(["c1@example.com", "c2@example.com", "c3@example.com"])
job = st.tuples(people, st.integers(1, 60))
change = st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 60))
days = st.lists(st.tuples(st.lists(job, max_size=2), st.lists(change, max_size=3)), min_size=1, max_size=3)


def printed(people: list[Job], first: int) -> pl.DataFrame:
    lines = [f"{first + place} {name} {cost}" for place, (name, cost) in enumerate(people)]
    return jobs("\n".join(["job_id username cost", *lines]))


def altered(rows: pl.DataFrame, change: Change) -> pl.DataFrame:
    """A job is refunded, or costs something else."""
    place, refund, cost = change
    hit = pl.col("job_id") == str(place + 1)
    other = {"refunded": pl.lit(value=True)} if refund else {"cost": pl.lit(Decimal(cost))}
    (name, value), *_ = other.items()
    return rows.with_columns(
        pl.col("revision") + hit.cast(pl.Int64),
        pl.when(hit).then(value).otherwise(name).cast(rows.schema[name]).alias(name),
    )


@settings(max_examples=150)
@given(before=st.lists(job, max_size=4), since=days)
def test_once_a_person_confirmed_what_happened_nothing_is_charged_or_given_back_again(
    before: list[Job], since: list[tuple[list[Job], list[Change]]]
) -> None:
    past = Past(World(PEOPLE, printed(before, 1), CREDITS), ledger()).charged()
    past = replace(past, backup=past.world.ledger)
    for fresh, changes in since:
        rows = pl.concat([past.world.jobs, printed(fresh, past.world.jobs.height + 1)])
        for each in changes:
            rows = altered(rows, each)
        past = past.changed(rows).charged()
    world = past.decided()
    assert world.charge().is_empty(), "recovered and confirmed, a run still finds something to do"
    assert standing_cents(world.ledger) == standing_cents(past.world.ledger)
    refunded = world.but(jobs=world.jobs.with_columns(refunded=True, revision=pl.col("revision") + 1)).charge()
    assert not set(refunded["ref"]) & set(world.ledger["ref"]), "a reference stands for two lines"
    given_back = refunded.group_by("job_id").agg(pl.sum("amount_cents"))
    assert dict(given_back.rows()) == standing_cents(world.ledger), "a refund of everything gives back what was charged"


@pytest.mark.parametrize("state", ["confirmed", "void"])
def test_recovery_twice_asks_nothing_new(state: str) -> None:
    past = Past.begin(ONE).change(cost=pl.lit(Decimal(30))).charged()
    lines = past.decided(state).ledger
    assert recovery.unproven(past.site(lines)).join(lines, on="ref", how="anti").is_empty()
