"""The Nexudus REST API of the sandbox, as `nexudus-api.md` describes it; every unknown of its section 10 is a switch.

    service.py    routes and verbs
    signin.py     tokens and HTTP Basic
    lists.py      paging, ordering, filters
    rules.py      what a write means: defaults, copies, validation
    teams.py      who is in which team, and what both sides repeat of it
    commands.py   customer deletion, credit adjustment
    invoices.py   the bill run, and what staff does with an invoice
    answers.py    envelopes and every way to fail
    switches.py   one for each unknown
    tables.py     the state, with what lagging lists still show
    entities.py   the record types, key by key
    records.py    kinds of values and their form on the wire

What belongs here: Nexudus. What does not: HTTP connections, faults and the control endpoint (`app.py`).
"""

from pipeline.sandbox.nexudus.answers import Answer
from pipeline.sandbox.nexudus.service import Nexudus

__all__ = ["Answer", "Nexudus"]
