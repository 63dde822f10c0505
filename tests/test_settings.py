"""Settings: their defaults, what overrules what, and that every wrong one is named with what to write."""

from __future__ import annotations

import copy
import os
import pickle
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrix_sync.errors import SettingError
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.portal.client import Portal
from bitrix_sync.settings import NAMES, Listen, Rate, Settings, load_settings, writes_to_journal
from bitrix_sync.words.language import LANGUAGES

ROOT = Path(__file__).parent.parent
AUTHORITY = ROOT / "tests" / "data" / "authority.pem"
URL = "https://portal.example/rest/1/s3cr3tc0de/"
PORTAL = {"BITRIX_WEBHOOK_URL": URL}


def problems(**given: str) -> list[str]:
    """The lines of the error that these settings give."""
    with pytest.raises(SettingError) as caught:
        load_settings({**PORTAL, **given}, None)
    return str(caught.value).splitlines()


def test_only_the_webhook_is_required() -> None:
    settings = load_settings(PORTAL, None)
    assert settings.webhook_url.get_secret_value() == URL
    assert settings.application_tokens == ()
    assert settings.rules == Path("rules.yaml")
    assert settings.database_url == "sqlite:///bitrix-sync.db"
    assert settings.listen == Listen("127.0.0.1", 8080)
    assert (settings.poll_seconds, settings.settle_seconds) == (30, 65)
    assert settings.rate == Rate(2, 50)
    assert settings.page_password is None
    assert settings.log == "text"


def test_every_setting_is_read() -> None:
    settings = load_settings(
        {
            "BITRIX_WEBHOOK_URL": "http://127.0.0.1:9000/rest/15/abc",
            "BITRIX_APPLICATION_TOKEN": "one, two,",
            "BITRIX_RULES": "/etc/rules.yaml",
            "DATABASE_URL": "sqlite:////var/lib/store.db",
            "BITRIX_LISTEN": "[::1]:0",
            "BITRIX_POLL_SECONDS": "0.5",
            "BITRIX_SETTLE_SECONDS": "0",
            "BITRIX_RATE": "5/250",
            "BITRIX_PAGE_PASSWORD": "open sesame",
            "BITRIX_TRUSTED_PROXY": "2001:DB8::0001",
            "BITRIX_CA_FILE": str(AUTHORITY),
            "HTTPS_PROXY": "http://anna:pr0xy@proxy.example:3128",
            "BITRIX_HEARTBEAT_URL": "https://watcher.example/ping/1234",
            "BITRIX_ALERT_URL": "http://127.0.0.1:9093/alert",
            "BITRIX_LOG": "json",
        },
        None,
    )
    assert settings.webhook_url.get_secret_value() == "http://127.0.0.1:9000/rest/15/abc/"
    assert settings.webhook_url.user_id == 15
    assert [token.get_secret_value() for token in settings.application_tokens] == ["one", "two"]
    assert settings.rules == Path("/etc/rules.yaml")
    assert settings.database_url == "sqlite:////var/lib/store.db"
    assert settings.listen == Listen("::1", 0)
    assert (settings.poll_seconds, settings.settle_seconds) == (0.5, 0)
    assert settings.rate == Rate(5, 250)
    assert settings.page_password is not None
    assert settings.page_password.get_secret_value() == "open sesame"
    assert settings.trusted_proxy == "2001:db8::1"
    assert settings.log == "json"
    assert settings.ca_file == AUTHORITY
    watched = (
        "http://anna:pr0xy@proxy.example:3128",
        "https://watcher.example/ping/1234",
        "http://127.0.0.1:9093/alert",
    )
    assert settings.secrets() == ("abc", "one", "two", "open sesame", *watched)


def test_the_password_of_a_database_is_a_secret() -> None:
    settings = load_settings({**PORTAL, "DATABASE_URL": "postgresql://anna:hunter%402@host/base"}, None)
    assert {"hunter%402", "hunter@2"} <= set(settings.secrets())
    without = load_settings({**PORTAL, "DATABASE_URL": "postgresql://anna@/base?host=/run"}, None)
    assert without.secrets() == load_settings(PORTAL, None).secrets()


def test_the_environment_wins_over_the_file(workdir: Path) -> None:
    Path(".env").write_text(f"BITRIX_WEBHOOK_URL={URL}\nBITRIX_RATE=5/250\nBITRIX_LOG=json\n")
    settings = load_settings({"BITRIX_RATE": "1/10"})
    assert (settings.rate, settings.log) == (Rate(1, 10), "json")


def test_an_empty_variable_means_the_default_whatever_the_file_says(workdir: Path) -> None:
    Path(".env").write_text(f"BITRIX_WEBHOOK_URL={URL}\nBITRIX_APPLICATION_TOKEN=abc\nBITRIX_LISTEN=\n")
    settings = load_settings({"BITRIX_APPLICATION_TOKEN": ""})
    assert settings.application_tokens == ()
    assert settings.listen == Listen("127.0.0.1", 8080)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    monkeypatch.setenv("BITRIX_WEBHOOK_URL", URL)
    assert load_settings().webhook_url.get_secret_value() == URL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BITRIX_RULES", '"rules.yaml"'),
        ("DATABASE_URL", "'sqlite:///x.db'"),
        ("BITRIX_LISTEN", "«127.0.0.1:8080»"),
        ("BITRIX_HEARTBEAT_URL", "“https://watcher.example/”"),
        ("HTTPS_PROXY", "`http://proxy:3128`"),
    ],
)
def test_a_value_in_quotes_is_told(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: has quotes around it; write "):
        load_settings({name: value}, None, need_portal=False)


def test_the_file_may_have_comments_quotes_a_mark_of_windows_and_other_programs_names(workdir: Path) -> None:
    Path(".env").write_text(
        f"# ours\nexport BITRIX_WEBHOOK_URL=\"{URL}\"\nBITRIX_PAGE_PASSWORD='a$b # c'\nOTHER=1\n", encoding="utf-8-sig"
    )
    settings = load_settings({})
    assert settings.webhook_url.get_secret_value() == URL
    assert settings.page_password is not None
    assert settings.page_password.get_secret_value() == "a$b # c"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secrets_may_stand_in_files_of_their_own(workdir: Path, end: str) -> None:
    Path("webhook").write_text(URL + end)
    Path("token").write_text(f"\ufeffone,two{end}", encoding="utf-8")
    Path("database").write_text(f"postgresql://me:hidden@server/name{end}")
    Path(".env").write_text("BITRIX_APPLICATION_TOKEN_FILE=token\n")
    settings = load_settings({"BITRIX_WEBHOOK_URL_FILE": "webhook", "DATABASE_URL_FILE": "database"})
    assert settings.database_url == "postgresql://me:hidden@server/name"
    assert "hidden" in settings.secrets()
    assert settings.webhook_url.get_secret_value() == URL
    assert [token.get_secret_value() for token in settings.application_tokens] == ["one", "two"]
    assert stat.S_IMODE(Path("webhook").stat().st_mode) & 0o077, "the file is not ours to close"


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        (None, {}, "BITRIX_WEBHOOK_URL_FILE: secret: cannot be read (No such file or directory); write the path"),
        (b"\xff\xfe\x00", {}, "BITRIX_WEBHOOK_URL_FILE: secret: cannot be read (is not UTF-8 text); write the path"),
        (b" \n", {}, "BITRIX_WEBHOOK_URL_FILE: secret: is empty; write the value of BITRIX_WEBHOOK_URL into it"),
        (b"s3cr3t", {}, "BITRIX_WEBHOOK_URL: is no https address; write "),
        (b"s3cr3t", PORTAL, "BITRIX_WEBHOOK_URL_FILE: is set, and BITRIX_WEBHOOK_URL as well; take one of them out"),
    ],
)
def test_a_wrong_file_of_a_secret_is_told(workdir: Path, text: bytes | None, given: dict[str, str], told: str) -> None:
    if text is not None:
        Path("secret").write_bytes(text)
    with pytest.raises(SettingError) as caught:
        load_settings({**given, "BITRIX_WEBHOOK_URL_FILE": "secret"}, None)
    [line] = str(caught.value).splitlines()
    assert line.startswith(told)
    assert "s3cr3t" not in line


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("BITRIX_CA_FILE", "nowhere.pem", "there is no file 'nowhere.pem'; write "),
        ("BITRIX_CA_FILE", "empty.pem", "'empty.pem' holds no certificate; write "),
        ("BITRIX_CA_FILE", ".", "'.' cannot be read"),
        ("HTTPS_PROXY", "proxy.example:3128", "is no address of a proxy; write "),
        ("HTTPS_PROXY", "socks5://hidden@proxy.example", "is no address of a proxy; write "),
        ("BITRIX_HEARTBEAT_URL", "http://watcher.example/hidden", "is plain http, which would show the address"),
        ("BITRIX_ALERT_URL", "ftp://watcher.example/hidden", "is no https address; write "),
        ("BITRIX_ALERT_URL", "https://watcher.example/hid den", "is no https address; write "),
        ("BITRIX_ALERT_URL", "https://watcher.example:0/hidden", "is no https address; write "),
    ],
)
def test_wrong_ways_out_are_told_and_not_shown(workdir: Path, name: str, value: str, told: str) -> None:
    Path("empty.pem").write_text("nothing")
    [line] = problems(**{name: value})
    assert line.startswith(f"{name}: {told}")
    assert "hid" not in line


def test_the_files_proxy_is_there_for_whoever_makes_a_connection(
    monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("NO_PROXY", "first.example")
    Path(".env").write_text(f"BITRIX_WEBHOOK_URL={URL}\nHTTPS_PROXY=http://proxy:3128\nNO_PROXY=second.example\n")
    load_settings()
    assert os.environ["HTTPS_PROXY"] == "http://proxy:3128"
    assert os.environ["NO_PROXY"] == "first.example", "the environment wins"
    monkeypatch.delenv("HTTPS_PROXY")


def test_a_command_that_needs_no_portal_starts_without_one() -> None:
    settings = load_settings({}, None, need_portal=False)
    assert settings.portal is None
    with pytest.raises(SettingError, match="BITRIX_WEBHOOK_URL: is not set; write"):
        _ = settings.webhook_url


def test_all_wrong_settings_are_reported_at_once_each_in_a_line_with_what_to_write() -> None:
    lines = problems(
        BITRIX_WEBHOOK_URL="portal.example",
        BITRIX_APPLICATION_TOKEN="a b",
        DATABASE_URL="mysql://u:hunter2@h/d",
        BITRIX_LISTEN="everywhere",
        BITRIX_POLL_SECONDS="soon",
        BITRIX_SETTLE_SECONDS="-1",
        BITRIX_RATE="fast",
        BITRIX_LOG="xml",
    )
    assert [line.partition(":")[0] for line in lines] == [
        "BITRIX_WEBHOOK_URL",
        "BITRIX_APPLICATION_TOKEN",
        "DATABASE_URL",
        "BITRIX_LISTEN",
        "BITRIX_POLL_SECONDS",
        "BITRIX_SETTLE_SECONDS",
        "BITRIX_RATE",
        "BITRIX_LOG",
    ]
    assert all("; write " in line for line in lines)
    assert "hunter2" not in "".join(lines)


def test_a_missing_webhook_is_reported_with_the_rest() -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({"BITRIX_LOG": "xml"}, None)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["BITRIX_WEBHOOK_URL", "BITRIX_LOG"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("portal.example/rest/1/s3cr3tc0de/", "is no https address"),
        ("ftp://portal.example/rest/1/s3cr3tc0de/", "is no https address"),
        ("https:///rest/1/s3cr3tc0de/", "is no https address"),
        ('"https://portal.example/rest/1/s3cr3tc0de/"', "has quotes around it: take them off"),
        ("«https://portal.example/rest/1/s3cr3tc0de/»", "has quotes around it: take them off"),
        ("https://portal.example/../rest/1/s3cr3tc0de/", "is not the address of an incoming webhook"),
        ("https://portal.example//rest/1/s3cr3tc0de/", "is not the address of an incoming webhook"),
        ("https://me:s3cr3tc0de@portal.example/rest/1/s3cr3tc0de/", "is no https address"),
        ("http://portal.example/rest/1/s3cr3tc0de/", "is plain http"),
        ("http://127.0.0.1.example/rest/1/s3cr3tc0de/", "is plain http"),
        ("http://10.0.0.1/rest/1/s3cr3tc0de/", "is plain http"),
        ("https://portal.example:port/rest/1/s3cr3tc0de/", "is no address"),
        ("https://[portal/rest/1/s3cr3tc0de/", "is no address"),
        ("https://portal.example/rest/1/s3cr3tc0de/profile.json", "something after the code"),
        ("https://portal.example/rest/1/s3cr3tc0de/?auth=x", "something after the code"),
        ("https://portal.example/rest/api/1/s3cr3tc0de/", "is not the address of an incoming webhook"),
        ("https://portal.example/rest/s3cr3tc0de/", "is not the address of an incoming webhook"),
        ("https://portal.example/", "is not the address of an incoming webhook"),
    ],
)
def test_a_wrong_webhook_is_told_and_not_shown(url: str, reason: str) -> None:
    (line,) = problems(BITRIX_WEBHOOK_URL=url)
    assert line.startswith("BITRIX_WEBHOOK_URL: ")
    assert reason in line
    assert line.endswith(
        "; write the incoming webhook as the portal shows it, up to its code: https://portal/rest/1/code/"
    )
    assert "s3cr3tc0de" not in line


def load_portal(url: str) -> None:
    load_settings({"BITRIX_WEBHOOK_URL": url}, None)


def open_portal(url: str) -> None:
    Portal(url).close()


@pytest.mark.parametrize("use", [WebhookUrl, load_portal, open_portal])
@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://portal.example/rest/1/s3cr3tc0de/", True),
        ("https://company.example/our/portal/rest/1/s3cr3tc0de/", True),
        ("https://portal.example/rest/1/s3cr3tc0de", True),
        ("  https://portal.example/rest/1/s3cr3tc0de/\n", True),
        ("HTTPS://Portal.Example:8443/rest/123456789/s3cr3t-c0de_/", True),
        ("https://портал.рф/rest/1/s3cr3tc0de/", True),
        ("https://[2001:db8::1]/rest/1/s3cr3tc0de/", True),
        ("http://[::1]:8080/rest/1/s3cr3tc0de/", True),
        ("http://localhost/rest/1/s3cr3tc0de/", True),
        ("http://portal.localhost/rest/1/s3cr3tc0de/", False),
        ("http://localhost.example/rest/1/s3cr3tc0de/", False),
        ("https://portal.example:0/rest/1/s3cr3tc0de/", False),
        ("https://portal.example:99999/rest/1/s3cr3tc0de/", False),
        ("https://portal example/rest/1/s3cr3tc0de/", False),
        ("https://other\\portal.example/rest/1/s3cr3tc0de/", False),
        ("https://[portal.example]/rest/1/s3cr3tc0de/", False),
        ("https://me:s3cr3t@[::1]/rest/1/s3cr3tc0de/", False),
        ("https://:443/rest/1/s3cr3tc0de/", False),
        ("https://portal.example/below/rest/1/s3cr3tc0de/", True),
        ("https://portal.example/rest/0/s3cr3tc0de/", False),
        ("https://portal.example/rest/١/s3cr3tc0de/", False),
        ("https://portal.example/rest/1234567890123456789/s3cr3tc0de/", False),
        ("https://portal.example/rest/1/s3cr3tc0de/#", True),
        ("https://portal.example/rest/1/s3cr3tc0de/#a", False),
        ("https://portal.example/rest/1/s3cr3t%20c0de/", False),
        ("https://portal.example/rest/1/", False),
        ("no address", False),
    ],
)
def test_whoever_is_given_an_address_judges_it_alike(use: Callable[[str], object], url: str, good: bool) -> None:
    if good:
        use(url)
        return
    with pytest.raises((ValueError, SettingError)) as caught:
        use(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "LOCALHOST"])
def test_plain_http_may_go_to_loopback(host: str) -> None:
    assert WebhookUrl(f"http://{host}:8000/rest/1/code/").root == f"http://{host.lower()}:8000"


def test_a_portal_may_lie_in_a_folder() -> None:
    url = WebhookUrl("https://company.example/our/portal/rest/1/s3cr3tc0de")
    assert (url.host, url.folder, url.root) == (
        "company.example",
        "/our/portal",
        "https://company.example/our/portal",
    )
    assert url.get_secret_value() == "https://company.example/our/portal/rest/1/s3cr3tc0de/"
    assert str(url) == "https://company.example/our/portal/rest/1/***/"
    moved = url.moved("https://new.example/our/portal/rest/1/s3cr3tc0de/profile.json", "profile")
    assert moved is not None
    assert moved.root == "https://new.example/our/portal"


def test_no_text_form_of_the_settings_shows_a_secret() -> None:
    settings = load_settings(
        {**PORTAL, "BITRIX_APPLICATION_TOKEN": "t0k3nt0k3n", "BITRIX_PAGE_PASSWORD": "passw0rd"}, None
    )
    url = settings.webhook_url
    for text in [
        repr(settings),
        str(settings),
        repr(settings.model_dump()),
        repr(url),
        str(url),
        f"{url}",
        f"{url!r:>99}",
    ]:
        assert not re.search("s3cr3tc0de|t0k3nt0k3n|passw0rd", text), text
    assert str(url) == "https://portal.example/rest/1/***/"


def test_the_webhook_survives_copying_and_compares_by_its_code() -> None:
    url = WebhookUrl(URL)
    assert copy.deepcopy(url) == url == pickle.loads(pickle.dumps(url))
    assert url != WebhookUrl("https://portal.example/rest/1/other/")
    assert len({url, WebhookUrl(URL.rstrip("/"))}) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgres://user:hunter2@host/base", "is no address of SQLite (sqlite:///file) or PostgreSQL"),
        ("postgresql://", "is no address of"),
        ("bitrix-sync.db", "is no address of"),
        ("mysql://host/base", "is no address of"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://store.db", "names no file"),
    ],
)
def test_a_wrong_database_is_told(url: str, reason: str) -> None:
    (line,) = problems(DATABASE_URL=url)
    assert line.startswith("DATABASE_URL: ")
    assert reason in line
    assert line.endswith("; write sqlite:///bitrix-sync.db")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "listen",
    ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:8080", "h:65536", "http://h:80", "a b:1"],
)
def test_a_wrong_listening_address_is_told(listen: str) -> None:
    (line,) = problems(BITRIX_LISTEN=listen)
    assert line.startswith("BITRIX_LISTEN: ")
    assert line.endswith("; write address:port, as 127.0.0.1:8080 or [::1]:8080")


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:8080", "localhost:1", "sync.example:65535"])
def test_a_listening_address_reads_as_it_is_written(listen: str) -> None:
    assert str(load_settings({**PORTAL, "BITRIX_LISTEN": listen}, None).listen) == listen


@pytest.mark.parametrize(
    "proxy", ["nginx", "10.0.0.0/8", "127.0.0.1:80", "127.0.0.1, 10.0.0.1", "*", "1", "10.0.0.256"]
)
def test_a_wrong_proxy_is_told(proxy: str) -> None:
    (line,) = problems(BITRIX_TRUSTED_PROXY=proxy)
    assert line == (
        f"BITRIX_TRUSTED_PROXY: {proxy!r} is not the address of one machine; "
        "write the IP address from which the web server in front asks, as 127.0.0.1"
    )


@pytest.mark.parametrize("rate", ["2", "0/50", "2/0", "-2/50", "2/50/1", "a/b", "1e3/5", "nan/50"])
def test_a_wrong_rate_is_told(rate: str) -> None:
    (line,) = problems(BITRIX_RATE=rate)
    assert line.startswith("BITRIX_RATE: ")
    assert line.endswith("; write requests a second / bucket, as 2/50, or 5/250 on Enterprise")


@pytest.mark.parametrize("rate", ["2/50", "0.5/20"])
def test_a_share_of_the_portals_pace_may_be_given(rate: str) -> None:
    assert str(load_settings({**PORTAL, "BITRIX_RATE": rate}, None).rate) == rate


@pytest.mark.parametrize("seconds", ["0", "-1", "3601", "nan", "inf", "soon", "30s"])
def test_a_wrong_poll_interval_is_told(seconds: str) -> None:
    (line,) = problems(BITRIX_POLL_SECONDS=seconds)
    assert line.startswith("BITRIX_POLL_SECONDS: should be ")
    assert line.endswith("; write seconds from 0.1 to 3600, as 30")


def test_a_misspelt_name_in_the_file_is_told_with_the_right_one(workdir: Path) -> None:
    Path(".env").write_text(f"BITRIX_WEBHOOK_URL={URL}\nBITRIX_POOL_SECONDS=5\n")
    with pytest.raises(SettingError) as caught:
        load_settings({})
    assert str(caught.value) == (
        ".env:2: BITRIX_POOL_SECONDS is no setting; write BITRIX_POLL_SECONDS, or take the line out"
    )


def test_other_programs_variables_in_the_environment_are_none_of_our_business() -> None:
    assert load_settings({**PORTAL, "BITRIX_SOMETHING": "1"}, None).log == "text"


@pytest.mark.parametrize("line", ["BITRIX_WEBHOOK_URL", 'BITRIX_PAGE_PASSWORD="hunter2', "= hunter2"])
def test_a_broken_line_of_the_file_is_told_and_not_shown(workdir: Path, line: str) -> None:
    Path(".env").write_text(f"BITRIX_LOG=text\n{line}\n")
    with pytest.raises(SettingError) as caught:
        load_settings(PORTAL)
    assert ".env:2: is no NAME=value; write lines as in .env.example" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unreadable_file_is_told(workdir: Path) -> None:
    Path("folder").mkdir()
    with pytest.raises(SettingError, match=r"^folder: cannot be read \(Is a directory\); write lines NAME=value"):
        load_settings(PORTAL, Path("folder"))
    Path(".env").write_bytes(b"BITRIX_LOG=\xff\xfe\n")
    with pytest.raises(SettingError, match=r"^\.env: is not UTF-8 text; write lines NAME=value"):
        load_settings(PORTAL)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o600), (0o600, 0o600), (0o400, 0o400)])
def test_the_file_is_closed_to_others(workdir: Path, before: int, after: int) -> None:
    file = Path(".env")
    file.write_text(f"BITRIX_WEBHOOK_URL={URL}\n")
    file.chmod(before)
    load_settings({})
    assert stat.S_IMODE(file.stat().st_mode) == after


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_whatever_is_written_gives_settings_or_one_clear_error(given: dict[str, str]) -> None:
    try:
        settings = load_settings(given, None)
    except SettingError as error:
        lines = str(error).split("\n")
    else:
        lines = []
        assert isinstance(settings, Settings)
    assert [line for line in lines if "; write " not in line or line.split(":")[0] not in NAMES] == []


@pytest.mark.parametrize("file", [".env.example", *(f"bitrix_sync/setup/env/{name}.env" for name in LANGUAGES)])
def test_the_example_file_has_every_setting_commented_out_with_its_default_or_empty(workdir: Path, file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE) == list(NAMES)
    Path(".env").write_text(re.sub(r"^# ?([A-Z_]+=)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert load_settings({}, need_portal=False) == Settings()


def test_the_journal_is_known_by_what_systemd_says_of_stderr() -> None:
    status = os.fstat(2)
    assert writes_to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not writes_to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
    assert not writes_to_journal({})
