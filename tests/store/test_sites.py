"""Codes of sites: each is some site's for ever, so no two sites may have the same one."""

from __future__ import annotations

from itertools import product

import pytest

from pipeline.domain.money.references import site_code
from pipeline.errors import ConfigError
from pipeline.store.sites import Record, free_code

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def site(key: str, code: str) -> Record:
    return Record(key, key, code, 0, 1, "server", "source")


def test_when_every_code_is_taken_no_site_gets_that_of_another() -> None:
    codes = ["".join(letters) for letters in product(LETTERS, repeat=3)]
    known = {code: site(code, code) for code in codes}
    with pytest.raises(ConfigError, match="All 32768 codes for sites are taken; york gets none"):
        free_code(known, "york")
    del known["QQQ"]
    assert free_code(known, "york") == "QQQ", "the only one that is left"


def test_a_taken_code_is_not_given_again() -> None:
    known = {"bath": site("bath", site_code("york"))}
    assert free_code({}, "york") == site_code("york")
    assert free_code(known, "york") not in {site_code("york"), ""}
