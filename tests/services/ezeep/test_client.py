"""The client of ezeep on a real sandbox: complete lists or an error, and what became of each write.

What belongs here: the wire. What does not: which calls make up a change (`tests/steps/test_ezeep.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from pipeline.services.ezeep.client import EzeepClient
from tests.sandbox.test_ezeep import Ezeep, running_ezeep

LATER = "2026-12-10T08:00:00"
PEOPLE = [{"email": f"p{number}@example.com", "first_name": "P", "last_name": str(number)} for number in range(7)]
WORLD = {
    "clock": "2026-11-10T08:00:00Z",
    "sites": {"lisbon": {"system": "ezeep", "business_id": 7, "groups": ["staff"], "users": PEOPLE}},
}


@contextmanager
def ezeep(folder: Path) -> Generator[tuple[EzeepClient, Ezeep]]:
    with running_ezeep(folder, WORLD) as sandbox, client_of(sandbox) as client:
        yield client, sandbox


def client_of(sandbox: Ezeep, **given: Any) -> EzeepClient:
    site = sandbox.site
    addresses = (site["ezeep_account_url"], site["ezeep_api_url"])
    secrets = {"client_id": site["client_id"], "client_secret": site["client_secret"]} | given
    return EzeepClient(*addresses, **secrets, wait=lambda _: None)


def of(client: EzeepClient, name: str) -> dict[str, Any]:
    return next(each for each in client.users() if each["email"] == name)


def test_a_list_is_followed_to_its_end(folder: Path) -> None:
    with ezeep(folder) as (client, sandbox):
        sandbox.switch(ezeep_page_size=2)
        assert {each["email"] for each in client.users()} == {each["email"] for each in PEOPLE}
        assert len(client.members()) == len(PEOPLE)


def test_a_list_that_ends_short_is_no_list(folder: Path) -> None:
    with ezeep(folder) as (client, sandbox):
        sandbox.fault("GET users", "short_list", times=9)
        with pytest.raises(TransientError, match=r"ended short: \d of 7"):
            client.users()


def test_a_list_that_leads_to_another_host_is_not_followed(folder: Path) -> None:
    """The token must not go to a stranger."""
    stranger = {"count": 3, "next": "https://elsewhere.example/v1/users/?page=2", "results": [{"id": "1"}]}
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        token = {"access_token": "t", "expires_in": 3600}
        return httpx.Response(200, json=token if request.method == "POST" else stranger)

    with (
        EzeepClient("https://account.ezeep.com", "https://api2.ezeep.com", "id", "secret", wait=lambda _: None,
                    transport=httpx.MockTransport(answer)) as client,
        pytest.raises(PermanentError, match="somewhere else"),
    ):  # fmt: skip
        client.users()
    assert set(asked) == {"account.ezeep.com"}


def test_a_token_is_taken_once_and_anew_when_it_is_refused(folder: Path) -> None:
    with ezeep(folder) as (client, sandbox):
        for _ in range(3):
            client.users()
        assert sandbox.calls()["POST access_token"] == 1
        sandbox.control("clock", {"advance_seconds": 3700})
        client.invite("new@example.com", LATER)
        assert sandbox.calls()["POST access_token"] == 2
        assert sandbox.state()["mails"] == {"new@example.com": 1}


def test_a_wrong_secret_is_named_and_never_shown(folder: Path) -> None:
    with ezeep(folder) as (_, sandbox), client_of(sandbox, client_secret="hush-hush-hush") as client:
        with pytest.raises(ConfigError, match="client_secret_env") as caught:
            client.users()
        assert "hush-hush-hush" not in str(caught.value)


def test_what_ezeep_refuses_is_a_refusal_in_its_own_words(folder: Path) -> None:
    with ezeep(folder) as (client, sandbox):
        sandbox.switch(foreign_account=["other@example.com"])
        for email in ("other@example.com", "p1@example.com"):
            with pytest.raises(RejectedError, match="400"):
                client.invite(email, LATER)
        with pytest.raises(MissingError):
            client.user("00000000-0000-0000-0000-000000000000")
        with pytest.raises(MissingError):
            client.delete_user("00000000-0000-0000-0000-000000000000")


def test_an_address_of_invitations_that_is_not_there_is_a_fault_of_the_file(folder: Path) -> None:
    with (
        ezeep(folder) as (_, sandbox),
        client_of(sandbox, invitations_path="/v1/invite/") as client,
        pytest.raises(ConfigError, match="invitations_path"),
    ):
        client.invite("new@example.com", LATER)


WRITES: dict[str, tuple[str, Callable[[EzeepClient, str], object]]] = {
    "invite": ("POST userinvitations", lambda client, _: client.invite("new@example.com", LATER)),
    "change": ("PATCH users", lambda client, id_: client.change_user(id_, {"first_name": "Q"})),
    "delete": ("DELETE users", lambda client, id_: client.delete_user(id_)),
    "groups": ("PUT printing/users", lambda client, id_: client.set_groups(id_, [])),
    "group": ("POST groups", lambda client, _: client.make_group("new", "organisation")),
}


UNCLEAR: tuple[tuple[str, dict[str, Any], type[PrintbridgeError]], ...] = (
    ("drop_before", {}, UnknownOutcomeError),
    ("drop_after", {}, UnknownOutcomeError),
    ("status", {"code": 503}, UnknownOutcomeError),
    ("truncate", {}, UnknownOutcomeError),
    ("throttle", {"style": "429_retry_after", "seconds": 1, "times": 9}, TransientError),
)
CASES = [
    (write, *case)
    for write in WRITES
    for case in UNCLEAR
    if (write, case[0]) != ("delete", "truncate")  # an answer without a body cannot be cut
]


@pytest.mark.parametrize(("write", "action", "fields", "error"), CASES)
def test_a_write_without_a_clear_answer_is_sent_once_and_never_called_undone(
    folder: Path, write: str, action: str, fields: dict[str, Any], error: type[PrintbridgeError]
) -> None:
    call, deed = WRITES[write]
    with ezeep(folder) as (client, sandbox):
        id_ = of(client, "p1@example.com")["id"]
        before = sandbox.calls().get(call, 0)
        sandbox.fault(call, action, **fields)
        with pytest.raises(error):
            deed(client, id_)
        if error is UnknownOutcomeError:
            assert sandbox.calls()[call] == before + 1, "a write is never sent again blindly"
