"""PaperCut's users: one that cannot be read harms nobody else, and a text is compared as PaperCut keeps it."""

import xmlrpc.client
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.people.balances import CARRIED
from pipeline.errors import PermanentError
from pipeline.services.digests import Digester
from pipeline.services.papercut.database import TABLES, PaperCutDatabase
from pipeline.services.papercut.records import (
    USER_COLUMNS,
    USER_PROPERTIES,
    flat,
    flattened,
    mark,
    marked_notes,
    papercut_users_of,
    read_users,
    user_rows,
)
from pipeline.services.papercut.wire import decode, encode
from pipeline.services.reading import Read

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
DIGEST = Digester("key")
GOOD: dict[str, Any] = {
    "full-name": "Anna Ash", "email": "anna@example.com", "primary-card-number": "4711",
    "notes": "desk 3 printbridge:london:101", "internal": "true", "disabled-print": "false", "restricted": "TRUE",
    "balance": "12.300000000000001",
}  # fmt: skip


def read(*answers: dict[str, Any]) -> Read:
    return read_users([f"u{number}" for number in range(len(answers))], answers)


def observed(users: pl.DataFrame) -> pl.DataFrame:
    frame = papercut_users_of(users, "london", DIGEST, NOW)
    carried = (pl.lit(None, tables.columns("print_users")[name]).alias(name) for name in CARRIED)
    return tables.checked("print_users", frame.with_columns(carried)).drop(CARRIED)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_user_is_read() -> None:
    (row,) = observed(read(GOOD).frame).to_dicts()
    assert row == {
        "site": "london", "username": "u0", "full_name": "Anna Ash", "email": "anna@example.com",
        "balance": Decimal("12.3"), "restricted": True, "disabled": False, "internal": True, "marked": True,
        "marked_coworker_id": 101, "card_digest": DIGEST("4711"), "remote_id": None,
        "observed_at": NOW,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "column", "means"),
    [
        ("internal", "Y", "internal", True),
        ("internal", "", "internal", False),
        ("restricted", " true ", "restricted", True),
        ("restricted", None, "restricted", False),
        ("disabled-print", "N", "disabled_print", False),
        ("disabled-print", True, "disabled_print", True),
        ("full-name", None, "full_name", ""),
        ("full-name", "An\ud800na", "full_name", "An\ufffdna"),
        ("primary-card-number", 4711, "card_number", "4711"),
        ("balance", "1.0E7", "balance", Decimal(10_000_000)),
        ("balance", 12.5, "balance", Decimal("12.5")),
        ("balance", " -0.05 ", "balance", Decimal("-0.05")),
        ("balance", "999999999999.999999", "balance", Decimal("999999999999.999999")),
    ],
)
def test_what_an_odd_value_of_a_user_stands_for(field: str, value: Any, column: str, means: Any) -> None:
    found = read(GOOD | {field: value})
    assert found.problems == []
    assert found.frame[column].item() == means


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("balance", "1.0E15"),
        ("balance", "1e400"),
        ("balance", "1e999999999999999999999"),
        ("balance", "NaN"),
        ("balance", "Infinity"),
        ("balance", ""),
        ("balance", None),
        ("balance", "1,234.56"),
        ("balance", "999999999999.9999999"),
        ("internal", "perhaps"),
        ("restricted", []),
        ("full-name", {"a": 1}),
        ("notes", ["x"]),
    ],
)
def test_a_user_that_cannot_be_read_is_left_out_alone_and_named(field: str, value: Any) -> None:
    found = read(GOOD, GOOD | {field: value}, GOOD)
    assert found.frame["username"].to_list() == ["u0", "u2"]
    assert [(each.id, each.field) for each in found.problems] == [("u1", field)]
    with pytest.raises(PermanentError, match=f"1 records cannot be read: u1: {field}"):
        user_rows(["u0", "u1"], [GOOD, GOOD | {field: value}])


def test_a_name_that_stands_for_two_is_nobodys() -> None:
    found = read_users(["Anna", "ben", "anna ", "", "\ud800"], [GOOD] * 5)
    assert found.frame["username"].to_list() == ["ben"]
    assert sorted((each.id, each.field) for each in found.problems) == [
        ("(without a name)", "user name"), ("anna", "user name"), ("\ufffd", "user name"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("notes", "marked"),
    [
        ("printbridge:london:7", 7),
        ("x printbridge:london:007, y", 7),
        (f"printbridge:london:{'9' * 18}", 10**18 - 1),
        (f"printbridge:london:{'9' * 30}", None),
        ("printbridge:london:\u0661\u0662", None),
        ("printbridge:paris:7", None),
        ("printbridge:london:", None),
    ],
)
def test_a_mark_is_a_number_of_ours_or_none(notes: str, marked: int | None) -> None:
    (row,) = observed(read(GOOD | {"notes": notes}).frame).to_dicts()
    assert (row["marked"], row["marked_coworker_id"]) == (marked is not None, marked)


def test_notes_keep_what_people_wrote_in_the_form_that_papercut_keeps() -> None:
    assert marked_notes("", "london", 7) == mark("london", 7)
    assert marked_notes("VIP \U0001f600", "london", 7) == "VIP ? printbridge:london:7"
    already = "\U0001f600 printbridge:london:7"
    assert marked_notes(already, "london", 7) == already, "what is right already is left alone"


# --- the form in which PaperCut keeps a text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", ""), ("Anna Ash", "Anna Ash"), (" Anna ", " Anna "), ("  ", ""), ("\t\n", ""), ("\xa0", ""),
        ("\U00020bb7\u91ce", "?\u91ce"), ("Anna \U0001f600\U0001f680", "Anna ?"), ("a\x0bb", "a b"), ("\x00", ""),
        ("\ud83d", ""), ("\uffff\ufffe", ""), ("\u5c71\u7530", "\u5c71\u7530"), ("a\r\nb", "a\r\nb"),
    ],
)  # fmt: skip
def test_a_text_is_flattened(text: str, form: str) -> None:
    assert flattened(text) == form


def by_a_narrow_reader(text: str) -> str:
    """What a reader of XML keeps that holds 16 bits of a character and drops texts of blanks only."""
    narrow = "".join(chr(ord(each) & 0xFFFF) for each in text)
    return narrow if narrow.strip() else ""


@settings(max_examples=3000)
@given(text=st.text(st.characters(exclude_categories=()), max_size=20))
def test_a_flattened_text_is_kept_as_it_was_sent_by_a_wide_and_by_a_narrow_reader(text: str) -> None:
    flat_text = flattened(text)
    assert flattened(flat_text) == flat_text
    (received,), _ = xmlrpc.client.loads(encode("x", (flat_text,)).decode("ascii"))
    assert received == flat_text
    assert by_a_narrow_reader(flat_text) == flat_text


@settings(max_examples=500)
@given(texts=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=20))
def test_a_column_is_flattened_as_its_texts_are(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"name": texts}, schema={"name": pl.String}).select(flat("name"))
    assert frame["name"].to_list() == [None if text is None else flattened(text) for text in texts]


# --- generated: 10,000 odd users and more, from the web services and from a database ----------------------------------

ODD = st.one_of(
    st.sampled_from([
        None, "", " ", "true", "Y", "n", "FALSE", "perhaps", "0", "1e15", "1e400", "NaN", "-Infinity", "1,5", "12.5",
        "1e999999999999999999", "999999999999.9999999", "x" * 5000, "\x00", "a\u000bb", "\U0001f600", "\u202e",
        f"printbridge:london:{'9' * 40}", "printbridge:london:5", 0, 1, -1, 2**62, 1e15, 1e300, 12.5,
    ]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)  # fmt: skip
STRUCTURES = st.one_of(
    st.sampled_from([[], {}, ["x"], True, False, float("nan"), Decimal("NaN"), 10**4000, "\ud800", b"x", NOW]),
    st.decimals(),
)


@settings(max_examples=320)
@given(values=st.lists(ODD | STRUCTURES, min_size=4, max_size=4))
def test_any_user_of_the_web_services_is_read_or_named(values: list[Any]) -> None:
    """8 properties with 4 values each: more than 10,000 odd users."""
    odd = [(f"odd{at}-{field}", GOOD | {field: value}) for field in USER_PROPERTIES for at, value in enumerate(values)]
    missing = [(f"gone-{field}", {name: GOOD[name] for name in GOOD if name != field}) for field in USER_PROPERTIES]
    good = [(f"good{number}", GOOD) for number in range(len(odd))]
    names, answers = zip(*(each for three in (odd, missing, good) for each in three), strict=True)
    found = read_users(names, answers)
    kept, named = set(found.frame["username"]), {each.id: each.field for each in found.problems}
    assert kept | named.keys() == set(names)
    assert not kept & named.keys()
    assert kept >= {name for name, _ in good}
    assert named.items() >= {(name, name.removeprefix("gone-")) for name, _ in missing}
    assert all(field in name for name, field in named.items())
    seen = observed(found.frame)
    digests = {row["username"]: row["card_digest"] for row in seen.iter_rows(named=True)}
    cards = dict(zip(found.frame["username"], found.frame["card_number"], strict=True))
    assert digests == {name: DIGEST(card) for name, card in cards.items()}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[tuple[sa.Engine, PaperCutDatabase]]:
    """A real database whose columns take any value at all."""
    uri = f"sqlite:///{tmp_path / 'papercut.db'}"
    engine = sa.create_engine(uri)
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(sa.text(f"CREATE TABLE {table.name} ({', '.join(each.name for each in table.c)})"))
        connection.execute(sa.text("CREATE INDEX by_user ON tbl_user_account (user_id)"))
        connection.execute(sa.text("CREATE INDEX by_id ON tbl_account (account_id)"))
    with closing(PaperCutDatabase(uri, uri_env="URI", timezone="UTC", since=NOW)) as source:
        yield engine, source
    engine.dispose()


USER = {"full_name": "Anna", "email": "a@x", "card_number": "4711", "notes": "", "internal": "Y",
        "disabled_printing": "N"}  # fmt: skip
ACCOUNT = {"account_type": "USER", "balance": 12.5, "restricted": "Y"}


def test_any_user_of_a_database_is_read_or_named(sqlite: tuple[sa.Engine, PaperCutDatabase]) -> None:
    engine, source = sqlite
    counted = [0]

    @settings(max_examples=320)
    @given(values=st.lists(ODD.filter(lambda value: not isinstance(value, str) or "\x00" not in value),
                           min_size=4, max_size=4))  # fmt: skip
    def check(values: list[Any]) -> None:
        people: list[dict[str, Any]] = []
        accounts: list[dict[str, Any]] = []
        for field in (*USER, *ACCOUNT):
            for value in ("good", *values):
                number = len(people) + 1
                odd = {} if value == "good" else {field: value}
                name = f"{'good' if value == 'good' else field}-{number}"
                people.append({"user_id": number, "user_name": name, "deleted": "N"} | USER | _of(USER, odd))
                accounts.append({"account_id": number} | ACCOUNT | _of(ACCOUNT, odd))
        with engine.begin() as connection:
            for table in TABLES:
                connection.execute(sa.delete(table))
            connection.execute(TABLES[1].insert(), people)
            connection.execute(
                TABLES[2].insert(), [{"user_id": n + 1, "account_id": n + 1} for n in range(len(people))]
            )
            connection.execute(TABLES[3].insert(), accounts)
        found = source.read_users()
        kept, named = set(found.frame["username"]), {each.id: each.field for each in found.problems}
        assert found.frame.schema == USER_COLUMNS
        assert kept | named.keys() == {each["user_name"] for each in people}
        assert not kept & named.keys()
        assert not any(name.startswith("good") for name in named)
        assert all(name.startswith(field) for name, field in named.items())
        observed(found.frame)
        counted[0] += len(people) - 9

    check()
    assert counted[0] >= 10_000


def _of(fields: dict[str, Any], odd: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in odd.items() if name in fields}


@settings(max_examples=500)
@given(text=st.text(st.characters(exclude_categories=()), max_size=30))
def test_a_name_in_an_answer_is_never_half_a_character(text: str) -> None:
    """As Java writes it: every character above 0x7F as a reference, those above U+FFFF as two halves."""
    units = text.encode("utf-16-le", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2], "little") for at in range(0, len(units), 2)]
    written = "".join(f"&#{code};" for code in codes)
    head = "<methodResponse><params><param><value>"
    read_back = decode(f"{head}{written}</value></param></params></methodResponse>".encode())
    read_back.encode("utf-8")
    assert len(read_back) <= len(text)
