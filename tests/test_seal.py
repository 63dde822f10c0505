"""Secrets of portals as the database keeps them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bitrix_sync.errors import SettingError, UserError
from bitrix_sync.fleet.portal_settings import address_of, portal_settings, sealed_tokens, tokens_of
from bitrix_sync.fleet.seal import Seals, password_fits, password_kept, read_seals
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.settings import Rate, Settings, settings_of
from bitrix_sync.store.portals import PortalRow

OLD, NEW = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))
URL = "https://north.bitrix24.ru/rest/7/hunter2secret/"


def row(seals: Seals, **values: object) -> PortalRow:
    given = {"name": "north", "address": "https://north.bitrix24.ru", "webhook": seals.seal(URL), **values}
    return PortalRow(number=5, rules="version: 1\n", rules_version=3, **given)  # type: ignore[arg-type]


def test_the_first_key_seals_and_all_open() -> None:
    old, both = Seals([OLD]), Seals([NEW, OLD])
    assert both.open(old.seal("secret"), "x") == "secret"
    with pytest.raises(UserError, match="does not hold; put that key back"):
        old.open(both.seal("secret"), "portal north: its webhook")
    assert old.seal("secret") != old.seal("secret")
    assert b"secret" not in old.seal("secret")
    assert old.open(old.seal(""), "x") == ""


def test_a_token_is_known_by_the_marks_of_every_key() -> None:
    old, both = Seals([OLD]), Seals([NEW, OLD])
    assert old.mark("token") in both.marks("token")
    assert both.mark("token") == Seals([NEW]).mark("token") != old.mark("token")
    assert "token" not in old.mark("token")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "holds no key"),
        (b"\xff\xfe", "is no text"),
        (f"{OLD}\n\nhunter2\n".encode(), "line 3 is no key"),
        (b"a" * 44, "line 1 is no key"),
    ],
)
def test_what_is_wrong_with_the_key_file_is_one_line_with_the_cure(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError) as caught:
        read_seals(path)
    assert said in str(caught.value)
    assert "openssl rand" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_key_file_there_is_no_sealing() -> None:
    with pytest.raises(SettingError, match=r"^BITRIX_SECRET_KEY_FILE: is not set"):
        read_seals(None)


def test_keys_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"\ufeff{NEW}\r\n\n  {OLD}  \n", encoding="utf-8")
    assert read_seals(path).open(Seals([OLD]).seal("secret"), "x") == "secret"


def test_a_password_is_known_again_and_not_kept() -> None:
    kept = password_kept("длинный пароль")
    assert password_fits("длинный пароль", kept)
    assert not password_fits("another", kept)
    assert not password_fits("", kept)
    assert kept != password_kept("длинный пароль")
    assert password_kept("") == ""


def test_a_portals_row_overrules_the_environment() -> None:
    seals = Seals([OLD])
    base = Settings.model_validate(
        {"BITRIX_RATE": "1/10", "BITRIX_POLL_SECONDS": "60", "BITRIX_PAGE_PASSWORD": "another's", "BITRIX_LOG": "json"}
    )
    found = portal_settings(
        base,
        row(seals, tokens=sealed_tokens(["t1", "t2"], seals), settings={"BITRIX_RATE": "5/250"}),
        seals,
    )
    assert found.webhook_url == WebhookUrl(URL)
    assert [token.get_secret_value() for token in found.application_tokens] == ["t1", "t2"]
    assert (found.number, found.name, found.rate, found.poll_seconds) == (5, "north", Rate(5, 250), 60)
    assert (found.page_password, found.log) == (None, "json")
    assert str(found.rules) == "north/rules.yaml (version 3)"
    assert (base.number, base.name, base.portal) == (1, "default", None)


def test_a_portal_without_tokens_takes_none_of_the_environments() -> None:
    seals = Seals([OLD])
    base = Settings.model_validate({"BITRIX_APPLICATION_TOKEN": "another's", "BITRIX_WEBHOOK_URL": URL})
    assert portal_settings(base, row(seals), seals).application_tokens == ()
    assert tokens_of(row(seals), seals) == []
    with pytest.raises(UserError, match="portal north: has no webhook"):
        portal_settings(base, row(seals, webhook=b""), seals)


def test_what_is_no_portals_own_is_refused_by_its_name() -> None:
    with pytest.raises(SettingError) as caught:
        settings_of({"DATABASE_URL": "sqlite:///mine.db", "BITRIX_RATE": "fast", "BITRIX_POLL_SECONDS": "5"})
    assert str(caught.value).splitlines() == [
        "DATABASE_URL: cannot be set for one portal; take the line out",
        "BITRIX_RATE: 'fast' is no pace; write requests a second / bucket, as 2/50, or 5/250 on Enterprise",
    ]


@pytest.mark.parametrize(
    ("webhook", "address"),
    [
        (URL, "https://north.bitrix24.ru"),
        ("https://NORTH.bitrix24.ru:443/rest/9/other/", "https://north.bitrix24.ru"),
        ("https://north.bitrix24.ru:80/rest/9/other/", "https://north.bitrix24.ru:80"),
        ("https://north.bitrix24.ru:8443/rest/9/other/", "https://north.bitrix24.ru:8443"),
        ("https://example.ru/crm/rest/9/other/", "https://example.ru/crm"),
        ("http://127.0.0.1:8080/rest/1/x/", "http://127.0.0.1:8080"),
        ("https://портал.рф/rest/1/x/", "https://xn--80awhdgm.xn--p1ai"),
    ],
)
def test_a_portal_is_its_scheme_host_port_and_path(webhook: str, address: str) -> None:
    assert address_of(WebhookUrl(webhook)) == address
