"""What counts as yes is one thing, whoever is told it: a person's file or an answer of the portal."""

from __future__ import annotations

from typing import Any

import pytest

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.portal.dialect.parsing import yes
from bitrix_sync.rules.values import filled

FLAG = DealField("UF_CRM_FLAG", "Flag", "boolean")


@pytest.mark.parametrize("value", [True, 1, "1", "Y", "y", "true", "TRUE", " yes ", "Да"])
def test_yes(value: Any) -> None:
    assert yes_or_no(value) is True
    assert yes(value, default=False)
    assert filled(value, FLAG)


@pytest.mark.parametrize("value", [False, 0, "0", "N", "n", "false", "No", "нет"])
def test_no(value: Any) -> None:
    assert yes_or_no(value) is False
    assert not yes(value, default=True)
    assert not filled(value, FLAG)


@pytest.mark.parametrize("value", ["", " ", "on", 2, [], {}, "ja"])
def test_neither(value: Any) -> None:
    assert yes_or_no(value) is None
    assert not yes(value, default=True)
    assert not filled(value, FLAG)
    assert yes_or_no(None) is None
    assert yes(None, default=True)
