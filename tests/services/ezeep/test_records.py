"""What a record of ezeep says, and that an odd one harms itself only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.services.ezeep.records import USERS, read_invitations, read_users
from pipeline.services.reading import Read

NOW = datetime(2026, 11, 10, 8, tzinfo=UTC)
GROUP = "g1"
NOBODY = USERS.to_frame()

Json = dict[str, Any]


def user(number: int, **fields: Any) -> Json:
    return {
        "id": f"u{number}",
        "email": f"p{number}@example.com",
        "first_name": "P",
        "last_name": str(number),
        **fields,
    }


def member(number: int, *groups: str) -> Json:
    return {"id": f"u{number}", "groups": [{"group_id": each} for each in groups]}


def invitation(number: int, **fields: Any) -> Json:
    return {
        "id": f"i{number}", "email": f"p{number}@example.com", "invitation_status": "OPEN",
        "expire_date": "2026-12-10T08:00:00", **fields,
    }  # fmt: skip


def read(users: list[Any], members: list[Any] | None = None, invitations: list[Any] | None = None,
         known: pl.DataFrame = NOBODY, *, disables: bool = False) -> Read:  # fmt: skip
    return read_users(
        users, members or [], invitations or [], site="lisbon", group_id=GROUP, known=known, disables=disables, at=NOW
    )


def names(found: Read) -> list[str]:
    return found.frame["username"].to_list()


def test_a_user_is_read() -> None:
    (row,) = read([user(1, email=" Ann@Example.com ")], [member(1, "other", GROUP)]).frame.to_dicts()
    assert (row["username"], row["email"], row["full_name"]) == ("ann@example.com", "ann@example.com", "P 1")
    assert (row["restricted"], row["disabled"], row["internal"], row["marked"]) == (False, False, True, True)
    assert (row["remote_id"], row["marked_coworker_id"], row["balance"]) == ("u1", None, 0)


@pytest.mark.parametrize(("disables", "disabled"), [(False, False), (True, True)])
def test_who_is_out_of_the_group_may_not_print(*, disables: bool, disabled: bool) -> None:
    (row,) = read([user(1)], [member(1)], disables=disables).frame.to_dicts()
    assert (row["restricted"], row["disabled"], row["marked"]) == (True, disabled, False)


def test_our_mark_is_to_be_in_the_group_or_to_have_been_seen_in_it_under_the_same_id() -> None:
    before = read([user(1), user(2)], [member(1, GROUP), member(2, GROUP)]).frame
    now = read([user(1), user(2, id="u9")], [member(1), {"id": "u9", "groups": []}], known=before).frame
    assert dict(now.select("username", "marked").iter_rows()) == {"p1@example.com": True, "p2@example.com": False}


def test_an_invitation_that_no_user_stands_behind_counts_as_one() -> None:
    given_ = [invitation(1), invitation(2, invitation_status="EXPIRED"), invitation(3, invitation_status="ACCEPTED"),
              invitation(4)]  # fmt: skip
    found = read([user(4)], [], given_)
    assert names(found) == ["p1@example.com", "p2@example.com", "p4@example.com"]
    assert found.frame["remote_id"].to_list() == [None, None, "u4"]


def test_no_users_at_all_are_no_users_although_somebody_was_invited() -> None:
    """An empty list is never believed; with the invitations in it, it would not look empty."""
    assert read([], [], [invitation(1)]).frame.is_empty()


ODD: list[Json] = [
    {"email": None}, {"email": ""}, {"email": 7}, {"email": "a\u0000b@example.com"}, {"first_name": {}},
    {"last_name": True},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_who_cannot_be_read_stays_as_known_and_is_named(odd: Json) -> None:
    before = read([user(1), user(2)], [member(1, GROUP), member(2, GROUP)]).frame
    found = read([user(1, **odd), user(2)], [member(1, GROUP), member(2, GROUP)], known=before)
    assert names(found) == ["p1@example.com", "p2@example.com"], "an odd record is no evidence that its user is gone"
    assert [each.id for each in found.problems] == ["u1"]


@pytest.mark.parametrize("groups", [None, "x", {}, [None], [{}], [{"group_id": 7}]])
def test_groups_that_cannot_be_read_leave_the_user_as_it_was(groups: object) -> None:
    before = read([user(1)], [member(1, GROUP)]).frame
    found = read([user(1)], [{"id": "u1", "groups": groups}], known=before)
    assert found.frame["restricted"].to_list() == [False]
    assert [each.field for each in found.problems] == ["groups"]


def test_two_users_of_one_address_are_one_and_named() -> None:
    found = read([user(1), user(2, email="P1@example.com")], [member(1, GROUP)])
    assert (names(found), [each.id for each in found.problems]) == (["p1@example.com"], ["u2"])


def test_an_invitation_that_cannot_be_read_is_named() -> None:
    found, problems = read_invitations([invitation(1), invitation(2, email=None), {"id": "i3"}])
    assert ([each.id for each in found], [each.id for each in problems]) == (["i1"], ["i2", "i3"])
    assert [each.id for each in read([user(1)], [], [invitation(2, email=None)]).problems] == ["i2"]


def test_a_date_of_an_invitation_may_be_absurd() -> None:
    dates = ["2026-12-10T08:00:00Z", "2026-12-10T10:00:00+02:00", "soon", None, 7]
    found, _ = read_invitations([invitation(number, expire_date=date) for number, date in enumerate(dates)])
    at = datetime(2026, 12, 10, 8, tzinfo=UTC)
    assert {each.id: each.expires for each in found} == {"i0": at, "i1": at, "i2": None, "i3": None, "i4": None}


ANYTHING = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just([]) | st.just({})
FIELDS = st.dictionaries(
    st.sampled_from(["id", "email", "first_name", "last_name", "azure_profile", "groups"]), ANYTHING, max_size=4
)


@given(st.lists(st.tuples(st.integers(10, 40), FIELDS, FIELDS), max_size=8))
def test_whatever_others_look_like_the_good_ones_are_read(odd: list[tuple[int, Json, Json]]) -> None:
    users = [user(1), *(user(number, **fields) for number, fields, _ in odd), user(2)]
    members = [member(1, GROUP), *({**member(number), **fields} for number, _, fields in odd), member(2)]
    found = tables.columns("print_users")
    result = read(users, members)
    good = result.frame.filter(pl.col("username").is_in(["p1@example.com", "p2@example.com"]))
    assert good["restricted"].to_list() == [False, True]
    assert result.frame.height + len(result.problems) >= len({str(each.get("id")) for each in users}) - 1
    assert set(result.frame.columns) <= set(found)
