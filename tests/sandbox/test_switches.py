"""The switches: which exist, what they take, and the meaning of a direction under each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.sandbox.app import DidNotStartError, start
from pipeline.sandbox.switches import KNOWN, TEXT, checked
from tests.nexudus_sandbox import Api, running_api


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("sandbox")) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.reset()
    return running


@pytest.mark.parametrize("name", KNOWN)
def test_a_switch_takes_each_of_its_own_values(name: str) -> None:
    for value in KNOWN[name]:
        if value != TEXT or name != "print_file_encoding":
            assert checked(name, value) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency_ms", "abc"), ("latency_ms", -1), ("latency_ms", 1e12), ("latency_ms", True),
        ("list_lag_seconds", float("inf")), ("list_lag_seconds", float("nan")), ("list_lag_seconds", None),
        ("denied_code", 99_999), ("denied_roles", "Coworker-Read"), ("denied_roles", [1]), ("txn_types", ["ADJUST"]),
        ("txn_types", {"PRINT": 3}), ("licence_limit", "many"), ("refresh_days", 2.5), ("xml_reader", "sax"),
        ("dir_meaning", "numbers"), ("print_file_encoding", "latin-99"), ("fault_text_bad_pin", 5),
    ],
)  # fmt: skip
def test_what_a_switch_does_not_take_is_refused(name: str, value: Any) -> None:
    with pytest.raises((ValueError, LookupError)):
        checked(name, value)


@pytest.mark.parametrize("name", ["dir_meanings", "fault_text_nothing", ""])
def test_an_unknown_switch_is_refused_with_the_list_of_known_ones(api: Api, name: str) -> None:
    answer = api.plain.post(f"{api.control_url}/switches", json={"page_fields": "omit", name: "off"})
    assert answer.status_code == 400
    for known in ("dir_meaning", "xml_reader", "credit_put_remaining", "fault_text_bad_token"):
        assert known in answer.json()["error"]
    assert "PageSize" in api.get("spaces/coworkers").json(), "the good one beside it is not set either"


def test_a_world_with_an_unknown_switch_does_not_start(tmp_path: Any) -> None:
    with (
        pytest.raises(DidNotStartError, match="unknown switch 'dir_meanings'"),
        start({"switches": {"dir_meanings": "x"}, "sites": {}}, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("meaning", "words", "ascending", "descending"),
    [
        ("0asc_1desc", "down", 0, 1),
        ("1asc_-1desc", "down", 1, -1),
        ("numbers_only", "up", 1, -1),
        ("numbers_only_400", "refused", 1, -1),
    ],
)
def test_a_direction_is_what_the_switch_says(
    api: Api, meaning: str, words: str, ascending: int, descending: int
) -> None:
    def order(**query: object) -> list[int]:
        return [row["Id"] for row in api.rows("spaces/coworkers", orderBy="Id", **query)]

    up = sorted(order())
    api.switch(dir_meaning=meaning)
    assert order() == order(dir=ascending) == up
    assert order(dir=descending) == up[::-1]
    answer = api.get("spaces/coworkers", orderBy="Id", dir="Descending")
    if words == "refused":
        assert answer.status_code == 400
    else:
        assert [row["Id"] for row in answer.json()["Records"]] == (up if words == "up" else up[::-1])
