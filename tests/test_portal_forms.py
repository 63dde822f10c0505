"""What may travel inside a batch, and how it looks there."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.portal.dialect.commands import Command, batch_line, fits_batch


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({}, "tasks.task.add"),
        ({"id": 5}, "tasks.task.add?id=5"),
        ({"fields": {"TITLE": "a & b=c"}}, "tasks.task.add?fields[TITLE]=a%20%26%20b%3Dc"),
        ({"fields": {"AUDITORS": [5, 7]}}, "tasks.task.add?fields[AUDITORS][0]=5&fields[AUDITORS][1]=7"),
        ({"filter": {">=ID": 3}}, "tasks.task.add?filter[%3E%3DID]=3"),
        ({"filter": {"0": {"logic": "OR", "1": {"id": 2}}}}, "tasks.task.add?filter[0][logic]=OR&filter[0][1][id]=2"),
        ({"fields": {"TITLE": ""}}, "tasks.task.add?fields[TITLE]="),
        ({"DEADLINE": "2026-03-12T18:00:00+03:00"}, "tasks.task.add?DEADLINE=2026-03-12T18%3A00%3A00%2B03%3A00"),
    ],
)
def test_commands_are_encoded_as_php_reads_them(params: dict[str, Any], line: str) -> None:
    assert fits_batch(Command("tasks.task.add", params))
    assert batch_line(Command("tasks.task.add", params)) == line


@pytest.mark.parametrize(
    "params",
    [
        {"fields": {"AUDITORS": []}},
        {"fields": {}},
        {"fields": {"DEADLINE": None}},
        {"flag": True},
        {"fields": {"TITLE": "costs $result[x]"}},
        {"fields": {"TITLE": "$next[x]"}},
        {"fields": {"DESCRIPTION": "a\n$total[0]"}},
        {"list": ["ok", "$error[k0]"]},
        {"list": ["$time[k0]"]},
        {"fields": {"TITLE": "$RESULT[x]"}},
        {"fields": {"a": {"b": ["x", {"c": "…$result["}]}}},
    ],
)
def test_what_a_batch_cannot_say_goes_alone(params: dict[str, Any]) -> None:
    assert not fits_batch(Command("tasks.task.add", params))
    with pytest.raises(ValueError):
        batch_line(Command("tasks.task.add", params))


def test_dollars_alone_are_harmless() -> None:
    assert fits_batch(Command("tasks.task.add", {"fields": {"TITLE": "$500 [result] $res[1]"}}))


def test_a_reference_that_is_meant_travels_as_the_documentation_writes_it() -> None:
    command = Command("crm.item.list", {"filter": {">id": "$result[k0][items][49][id]"}}, refers=True)
    assert fits_batch(command)
    assert batch_line(command) == "crm.item.list?filter[%3Eid]=$result[k0][items][49][id]"


@given(st.dictionaries(st.text("ABC_>=@!", min_size=1, max_size=8), st.text(max_size=30), max_size=4))
@settings(max_examples=60)
def test_whatever_travels_arrives_as_it_was(fields: dict[str, str]) -> None:
    command = Command("m", {"fields": fields, "n": 1})
    if fits_batch(command):
        _, _, query = batch_line(command).partition("?")
        arrived = dict(parse_qsl(query, keep_blank_values=True))
        assert arrived == {**{f"fields[{key}]": value for key, value in fields.items()}, "n": "1"}
