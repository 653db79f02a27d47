"""Who pays a job that was printed in former times, and whose credits may."""

from __future__ import annotations

import polars as pl

from pipeline.domain.money.history import ACCESS
from pipeline.domain.money.payers import pooled, with_payer
from pipeline.domain.people.accounts import print_accounts
from tests.frames import NOW, START, customers, grants, jobs, moment, rules, shuffled, table, uses


def access(text: str = "email_key") -> pl.DataFrame:
    return table(ACCESS, text, coworker_id=1, held_from=START, free=False, pay=True)


def paid(
    people: pl.DataFrame, *printed: tuple[int, str], known: pl.DataFrame | None = None, at: str = "11-20T09:00"
) -> list[tuple[object, ...]]:
    """For jobs by (customer, e-mail) of the mapping: who pays, under which e-mail, and free, pay, gone."""
    accounts = print_accounts(people, grants(), uses(), rules(), NOW)
    rows = jobs("job_id\n" + "\n".join(str(number) for number in range(len(printed)))).with_columns(
        printed_at=pl.lit(moment(at)).cast(pl.Datetime("us", "UTC")),
        coworker_id=pl.Series([customer for customer, _ in printed], dtype=pl.Int64),
        email_key=pl.Series([email for _, email in printed], dtype=pl.String),
    )
    found = with_payer(rows, accounts, people, known)
    assert found.columns == [*rows.columns, "free", "pay", "gone"]
    assert found["job_id"].to_list() == rows["job_id"].to_list()
    if known is not None:
        assert with_payer(rows, accounts, shuffled(people, 1), shuffled(known, 1)).equals(found)
    return found.select("coworker_id", "email_key", "free", "pay", "gone").rows()


ONE, TWO, THREE = "c1@example.com", "c2@example.com", "c3@example.com"
PEOPLE = customers("coworker_id free pay archived\n1 n y n\n2 y n n\n3 n y y")


def test_without_a_past_the_account_of_the_customer_pays_with_what_it_may_now() -> None:
    assert paid(PEOPLE, (1, ONE), (2, TWO)) == [(1, ONE, False, True, False), (2, TWO, True, False, False)]


def test_whoever_is_archived_or_was_never_there_cannot_be_charged() -> None:
    assert paid(PEOPLE, (3, THREE), (9, "c9@example.com")) == [
        (3, THREE, False, True, True), (9, "c9@example.com", False, False, True),
    ]  # fmt: skip


def test_a_customer_with_another_e_mail_now_pays_under_that() -> None:
    assert paid(PEOPLE, (1, "old@example.com")) == [(1, ONE, False, True, False)]


def test_the_preferred_account_of_an_e_mail_pays_for_the_others() -> None:
    people = customers("coworker_id kind email pay free\n1 company a@x n y\n2 individual a@x y n")
    assert paid(people, (1, "a@x")) == [(2, "a@x", False, True, False)]


def test_a_customer_who_had_many_e_mails_pays_each_job_once() -> None:
    known = access(f"email_key held_from\na@x 11-01T00:00\nb@x 11-02T00:00\n{ONE} 11-03T00:00\n{ONE} 11-04T00:00")
    assert paid(PEOPLE, (1, "a@x"), (2, TWO), known=known) == [
        (1, ONE, False, True, False), (2, TWO, True, False, False),
    ]  # fmt: skip


def test_what_held_when_it_was_printed_goes_before_what_holds_now() -> None:
    known = access(
        f"""
        email_key coworker_id held_from   free pay
        {ONE}     2           03-01T00:00 y    n
        {ONE}     1           06-01T00:00 n    y
        """
    )
    then = (2, TWO, True, False, False)
    assert paid(PEOPLE, (1, ONE), known=known, at="05-31T23:59") == [then]
    assert paid(PEOPLE, (1, ONE), known=known, at="06-01T00:00") == [(1, ONE, False, True, False)]
    assert paid(PEOPLE, (1, ONE), known=known, at="02-01T00:00") == [then], "from before, the first that is known"
    assert paid(PEOPLE, (2, TWO), known=known) == [(2, TWO, True, False, False)], "of others it says nothing"


def test_of_two_changes_at_once_the_one_of_the_higher_number_holds_whatever_the_order_of_rows() -> None:
    known = access(f"email_key coworker_id held_from\n{ONE} 1 03-01T00:00\n{ONE} 2 03-01T00:00")
    for rows in (known, known.reverse()):
        assert paid(PEOPLE, (1, ONE), known=rows)[0][0] == 2


def test_what_a_former_payer_may_do_is_what_held_then() -> None:
    known = access(f"email_key coworker_id free pay\n{ONE} 1 y n")
    assert paid(PEOPLE, (1, ONE), known=known) == [(1, ONE, True, False, False)]


def test_a_payer_who_is_gone_is_replaced_by_who_has_the_e_mail_now() -> None:
    people = customers(f"coworker_id email archived pay\n1 {ONE} y y\n2 {ONE} n y")
    known = access(f"email_key coworker_id free pay\n{ONE} 1 n y")
    assert paid(people, (1, ONE), known=known) == [(2, ONE, False, True, False)]


def test_who_has_the_e_mail_now_and_had_another_one_is_another_person_and_does_not_pay() -> None:
    people = customers(f"coworker_id email archived pay\n1 {ONE} y y\n2 {ONE} n y")
    known = access(f"email_key coworker_id held_from\n{ONE} 1 03-01T00:00\n{TWO} 2 03-01T00:00\n{ONE} 2 06-01T00:00")
    assert paid(people, (1, ONE), known=known, at="04-01T00:00") == [(1, ONE, False, True, True)]
    assert paid(people, (2, TWO), known=known, at="04-01T00:00") == [(2, ONE, False, True, False)], "it pays its own"


def test_a_team_without_an_e_mail_of_its_own_makes_nobody_a_stranger() -> None:
    people = customers(f"coworker_id email archived pay\n1 {ONE} y y\n2 {ONE} n y")
    for held in ("#2 2 03-01T00:00", f"#2 2 03-01T00:00\n{ONE} 2 06-01T00:00", f"{ONE} 2 06-01T00:00"):
        known = access(f"email_key coworker_id held_from\n{ONE} 1 03-01T00:00\n{held}")
        assert paid(people, (1, ONE), known=known, at="04-01T00:00") == [(2, ONE, False, True, False)]


def test_credits_of_active_accounts_and_of_the_preferred_one_are_pooled() -> None:
    people = customers(
        f"""
        coworker_id email active archived
        1           {ONE} n      n
        2           {TWO} y      n
        3           {TWO} n      n
        4           {TWO} y      n
        5           {TWO} y      y
        """
    )
    accounts = print_accounts(people, grants(), uses(), rules(), NOW)
    left = pl.DataFrame({"coworker_id": [1, 2, 3, 4, 5, 9], "credit_id": [11, 12, 13, 14, 15, 19]})
    made = pooled(left, accounts, people).sort("credit_id")
    whose = made.select("coworker_id", "credit_id", "email_key", "team").rows()
    assert whose == [(1, 11, ONE, False), (2, 12, TWO, False), (4, 14, TWO, False)], (
        "suspended: only the preferred; archived: nobody"
    )
