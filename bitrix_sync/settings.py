"""The settings: environment variables over ``.env``, checked all at once. The only module that reads the environment.

Names, defaults and meanings are those of the table in the README; ``.env.example`` lists them too, and tests compare
the three.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from dotenv.parser import Binding, parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from bitrix_sync.errors import SettingError
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.model.webhook import WebhookUrl, is_loopback
from bitrix_sync.words.language import FALL_BACK, LANGUAGES, Language

_QUOTED = re.compile(r"""["'`«“„‘].*["'`»”“’]""", re.DOTALL)
_AS_IT_IS = frozenset({"BITRIX_WEBHOOK_URL", "BITRIX_PAGE_PASSWORD"})
"""A password may have quotes; an address of a webhook says itself what is wrong with it."""
DEFAULT_NAME = "default"
"""The portal that the environment alone describes."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TOKEN = re.compile(r"[!-+\--~]{1,256}")  # visible ASCII but the comma


class Listen(NamedTuple):
    """Where the web side listens; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Rate(NamedTuple):
    """The pace the portal allows: requests a second, and how many may be sent at once."""

    per_second: float
    bucket: int

    def __str__(self) -> str:
        return f"{self.per_second:g}/{self.bucket}"


def _tokens(value: str) -> tuple[SecretStr, ...]:
    tokens = [token for part in value.split(",") if (token := part.strip())]
    if not tokens or not all(_TOKEN.fullmatch(token) for token in tokens):
        raise ValueError("has a token with spaces or foreign characters in it")
    return tuple(SecretStr(token) for token in tokens)


def _database(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme == "postgresql" and rest.strip("/"):
        return value
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(
            "is no address of SQLite (sqlite:///file) or PostgreSQL (postgresql://user:password@host/name)"
        )
    if not rest.startswith("/") or rest == "/" or rest.startswith(("/:memory:", "/?")):
        raise ValueError("names no file (three slashes before a relative path, four before an absolute one)")
    return value


def _password(database: str) -> str:
    """The password in a server's address; "" without one."""
    scheme, _, rest = database.partition("://")
    return rest.rpartition("@")[0].partition(":")[2] if scheme == "postgresql" else ""


def _listen(value: str) -> Listen:
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{value[:60]!r} has an IPv6 address without brackets")
    if not colon or not host or re.search(r"[\s/\[\]]", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{value[:60]!r} is no address and port")
    if int(port) > 65535:
        raise ValueError(f"{value[:60]!r} has a port above 65535")
    return Listen(host, int(port))


def _rate(value: str) -> Rate:
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*/\s*([0-9]{1,5})", value)
    if match is None or float(match[1]) <= 0 or int(match[2]) < 1:
        raise ValueError(f"{value[:60]!r} is no pace")
    return Rate(float(match[1]), int(match[2]))


def _portal_name(value: str) -> str:
    if not is_portal_name(value):
        raise ValueError(f"{value[:60]!r} is no name of a portal")
    return value


def is_portal_name(text: str) -> bool:
    """Whether a portal of a fleet may be called so: it stands in addresses and names of folders."""
    return _SLUG.fullmatch(text) is not None


def _proxy(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value[:60]!r} is not the address of one machine") from None


def _certificates(value: str) -> Path:
    path = Path(value)
    try:
        ssl.create_default_context(cafile=path)
    except FileNotFoundError:
        raise ValueError(f"there is no file {value[:200]!r}") from None
    except (OSError, ValueError) as fault:  # ssl.SSLError is an OSError
        reason = "holds no certificate" if isinstance(fault, ssl.SSLError) else f"cannot be read ({fault})"
        raise ValueError(f"{value[:200]!r} {reason}") from None
    return path


def _web_proxy(value: str) -> SecretStr:
    _parts(value, ("http", "https"), "is no address of a proxy")
    return SecretStr(value)


def _watcher(value: str) -> SecretStr:
    scheme, host = _parts(value, ("https", "http"), "is no https address")
    if scheme == "http" and not is_loopback(host):
        raise ValueError("is plain http, which would show the address to the network")
    return SecretStr(value)


def _parts(value: str, schemes: tuple[str, ...], problem: str) -> tuple[str, str]:
    """Scheme and host of an address that may hold a secret: what is wrong with it never repeats it."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(problem) from None
    if parts.scheme not in schemes or not host or port == 0 or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError(problem)
    return parts.scheme, host


class Settings(BaseModel):
    """All settings, checked. Secrets hide themselves in every text form of it.

    The first of a field's ``examples`` is what its error message tells to write.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    portal: Annotated[WebhookUrl | None, BeforeValidator(WebhookUrl)] = Field(
        default=None,
        alias="BITRIX_WEBHOOK_URL",
        description="incoming webhook, `https://portal/rest/1/code/`; plain http only to a loopback address",
        examples=["the incoming webhook as the portal shows it, up to its code: https://portal/rest/1/code/"],
    )
    application_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(_tokens)] = Field(
        default=(),
        alias="BITRIX_APPLICATION_TOKEN",
        description="token of the outgoing webhook; several by comma. None: the event address answers 404 and the "
        "service lives by polling",
        examples=["the application token that the portal shows beside the outgoing webhook, several by comma"],
    )
    rules: Path | RulesText = Field(
        default=Path("rules.yaml"), alias="BITRIX_RULES", description="the rules", examples=["a path, as rules.yaml"]
    )
    database_url: Annotated[str, BeforeValidator(_database)] = Field(
        default="sqlite:///bitrix-sync.db",
        alias="DATABASE_URL",
        description="where the store is; `postgresql://user:password@host/name` with the extra `fleet`",
        examples=["sqlite:///bitrix-sync.db"],
    )
    listen: Annotated[Listen, BeforeValidator(_listen)] = Field(
        default=Listen("127.0.0.1", 8080),
        alias="BITRIX_LISTEN",
        description="address and port of the web side",
        examples=["address:port, as 127.0.0.1:8080 or [::1]:8080"],
    )
    poll_seconds: float = Field(
        default=30,
        alias="BITRIX_POLL_SECONDS",
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="longest time between two readings of the portal",
        examples=["seconds from 0.1 to 3600, as 30"],
    )
    settle_seconds: float = Field(
        default=65,
        alias="BITRIX_SETTLE_SECONDS",
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="how long an ambiguous write rests before it is looked up",
        examples=["seconds from 0 to 3600, as 65"],
    )
    rate: Annotated[Rate, BeforeValidator(_rate)] = Field(
        default=Rate(2, 50),
        alias="BITRIX_RATE",
        description="requests a second / bucket; `5/250` on Enterprise",
        examples=["requests a second / bucket, as 2/50, or 5/250 on Enterprise"],
    )
    page_password: SecretStr | None = Field(
        default=None,
        alias="BITRIX_PAGE_PASSWORD",
        description="password of the page; none: the page answers only to loopback, and to nobody when a token is set",
        examples=["a password"],
    )
    trusted_proxy: Annotated[str | None, BeforeValidator(_proxy)] = Field(
        default=None,
        alias="BITRIX_TRUSTED_PROXY",
        description="address of the one web server in front whose `X-Forwarded-For` says who asks; none: nobody's",
        examples=["the IP address from which the web server in front asks, as 127.0.0.1"],
    )
    ca_file: Annotated[Path | None, BeforeValidator(_certificates)] = Field(
        default=None,
        alias="BITRIX_CA_FILE",
        description="certificates (PEM) that are trusted beside the usual ones: a company's own authority",
        examples=["the path of a file with the company's certificate in PEM form, as /etc/ssl/company.pem"],
    )
    https_proxy: Annotated[SecretStr | None, BeforeValidator(_web_proxy)] = Field(
        default=None,
        alias="HTTPS_PROXY",
        description="proxy by which the portal is reached, `http://proxy:3128`; `NO_PROXY` names the exceptions",
        examples=["the proxy's address, as http://proxy.example:3128"],
    )
    heartbeat_url: Annotated[SecretStr | None, BeforeValidator(_watcher)] = Field(
        default=None,
        alias="BITRIX_HEARTBEAT_URL",
        description="asked by GET once a minute while the service is ready, and not otherwise: for a watcher that "
        "alarms on silence",
        examples=["the https address that the watcher gives"],
    )
    alert_url: Annotated[SecretStr | None, BeforeValidator(_watcher)] = Field(
        default=None,
        alias="BITRIX_ALERT_URL",
        description="gets a POST of JSON `{event, reason, since}` when trouble begins and when it ends",
        examples=["the https address that takes the alerts"],
    )
    log: Literal["text", "json"] = Field(
        default="text", alias="BITRIX_LOG", description="`text` or `json`", examples=["text or json"]
    )
    secret_key_file: Path | None = Field(
        default=None,
        alias="BITRIX_SECRET_KEY_FILE",
        description="many portals: file with the keys that seal their secrets, one a line; the first seals, all open",
        examples=["the path of a file with a key, which `openssl rand -base64 32 | tr +/ -_` makes"],
    )
    wanted_portal: Annotated[str | None, BeforeValidator(_portal_name)] = Field(
        default=None,
        alias="BITRIX_PORTAL",
        description="many portals: the one that commands mean when they are not given `--portal`",
        examples=["a portal's name as `bitrix-sync portal list` shows it: small Latin letters, digits, hyphens"],
    )
    worker_threads: int = Field(
        default=16,
        alias="BITRIX_WORKER_THREADS",
        ge=1,
        le=64,
        description="many portals: at how many a worker works at once",
        examples=["a number from 1 to 64, as 16"],
    )
    worker_portals: int = Field(
        default=2000,
        alias="BITRIX_WORKER_PORTALS",
        ge=1,
        le=100000,
        description="many portals: how many a worker keeps in memory between its turns; the others it reads anew",
        examples=["a number, as 2000"],
    )
    lost_seconds: float = Field(
        default=5,
        alias="BITRIX_LOST_SECONDS",
        ge=3,
        le=60,
        allow_inf_nan=False,
        description="many portals: a worker that gave no sign for so long is succeeded",
        examples=["seconds from 3 to 60, as 5"],
    )
    fleet_password: SecretStr | None = Field(
        default=None,
        alias="BITRIX_FLEET_PASSWORD",
        description="many portals: password of the operator's page `/fleet`; none: it answers 404",
        examples=["a password"],
    )
    _number: int = PrivateAttr(default=1)
    _name: str = PrivateAttr(default=DEFAULT_NAME)

    @property
    def on_server(self) -> bool:
        """Whether the store is on PostgreSQL, where there can be many portals."""
        return self.database_url.startswith("postgresql://")

    @property
    def is_of_fleet(self) -> bool:
        """Whether these are a portal's of a fleet."""
        return isinstance(self.rules, RulesText)

    @property
    def number(self) -> int:
        """The portal's number in a database of many; 1 is that of a service that serves one."""
        return self._number

    @property
    def name(self) -> str:
        """The portal's name in a database of many."""
        return self._name

    @property
    def rules_path(self) -> Path:
        """The file in which rules are written: in a fleet, that of the portal's folder (``portal apply`` reads it)."""
        return self.rules if isinstance(self.rules, Path) else Path(self.name) / "rules.yaml"

    def of_portal(self, number: int, name: str, given: Settings, rules: RulesText) -> Settings:
        """These for a portal of a fleet: what is ``given`` for it alone overrules."""
        alone = {one: getattr(given, one) for one in (*given.model_fields_set, *_NEVER_SHARED)}
        made = self.model_copy(update=alone | {"rules": rules})
        made._number, made._name = number, name
        return made

    @property
    def webhook_url(self) -> WebhookUrl:
        """The webhook, for what cannot do without a portal; SettingError if none is set."""
        if self.portal is None:
            raise SettingError(_line("BITRIX_WEBHOOK_URL", "is not set"))
        return self.portal

    def secrets(self) -> tuple[str, ...]:
        """Everything that must never be written anywhere: for the redactor of the logs."""
        code = () if self.portal is None else (self.portal.code,)
        database = _password(self.database_url)
        others = (self.page_password, self.fleet_password, self.https_proxy, self.heartbeat_url, self.alert_url)
        hidden = (*self.application_tokens, *(secret for secret in others if secret is not None))
        shown = (*code, *{database, unquote(database)} - {""})
        return shown + tuple(secret.get_secret_value() for secret in hidden)


NAMES: Mapping[str, str] = {field.alias or name: name for name, field in Settings.model_fields.items()}
"""Environment name → attribute of ``Settings``."""
SECRETS = (
    "BITRIX_WEBHOOK_URL",
    "DATABASE_URL",
    "BITRIX_APPLICATION_TOKEN",
    "BITRIX_PAGE_PASSWORD",
    "HTTPS_PROXY",
    "BITRIX_HEARTBEAT_URL",
    "BITRIX_ALERT_URL",
    "BITRIX_FLEET_PASSWORD",
)
"""Settings that may stand in a file of their own, which the same name with ``_FILE`` at its end names."""
FILES: Mapping[str, str] = {f"{name}_FILE": name for name in SECRETS}
SECRET_OF_A_PORTAL = ("BITRIX_WEBHOOK_URL", "BITRIX_APPLICATION_TOKEN", "BITRIX_PAGE_PASSWORD")
OF_A_PORTAL = (*SECRET_OF_A_PORTAL, "BITRIX_RATE", "BITRIX_POLL_SECONDS", "BITRIX_SETTLE_SECONDS")
"""What each portal of a fleet has of its own; its secrets are nobody else's, the others overrule the environment's."""
_NEVER_SHARED = tuple(NAMES[name] for name in SECRET_OF_A_PORTAL)
LONGEST_SECRET = 65536
"""Bytes that are read of such a file."""


def load_settings(
    environ: Mapping[str, str] | None = None, dotenv_path: Path | None = Path(".env"), *, need_portal: bool = True
) -> Settings:
    """The settings from ``environ`` (None: the process's) over the file ``dotenv_path`` (None or missing: no file).

    An empty value means the default. A file that group or others may read is closed to them (0600): it holds the
    webhook. SettingError carries one line for every wrong setting, with what to write; no line shows a secret.
    ``need_portal``: whether a missing BITRIX_WEBHOOK_URL is one of them, but on PostgreSQL, where portals may be known.
    """
    in_file, wrong = _read_dotenv(dotenv_path) if dotenv_path is not None else ({}, [])
    given = {**in_file, **(os.environ if environ is None else environ)}
    values, unread = _values(given)
    wrong += unread
    many = values.get("DATABASE_URL", "").startswith("postgresql://")
    need_portal = need_portal and not many and not given.get("BITRIX_WEBHOOK_URL_FILE")
    if need_portal and "BITRIX_WEBHOOK_URL" not in values:
        wrong.append(_line("BITRIX_WEBHOOK_URL", "is not set"))
    settings = _checked(values, wrong)
    if environ is None:
        _hand_on({**in_file, **values})
    return settings


def _checked(values: Mapping[str, str], wrong: list[str]) -> Settings:
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingError("\n".join([*wrong, *_lines(error)])) from None
    if wrong:
        raise SettingError("\n".join(wrong))
    return settings


def settings_of(given: Mapping[str, str]) -> Settings:
    """What is set for one portal of a fleet by these names. SettingError carries a line for every wrong one, and for
    each that is no portal's own."""
    values = {name: text.strip() for name, text in given.items() if text.strip()}
    alien = [f"{name}: cannot be set for one portal; take the line out" for name in values if name not in OF_A_PORTAL]
    return _checked({name: text for name, text in values.items() if name in OF_A_PORTAL}, alien)


def read_portal_file(path: Path) -> dict[str, str]:
    """What a file of one portal's secrets sets, each as it is written; it is closed to other users of the machine.
    SettingError says which line is none."""
    found, wrong = _read_dotenv(path)
    if wrong:
        raise SettingError("\n".join(wrong))
    return {name: text for name, text in found.items() if name.startswith("BITRIX_") or name in NAMES}


def _hand_on(values: Mapping[str, str]) -> None:
    """Whoever makes a connection looks for proxies in the environment."""
    for name in ("HTTPS_PROXY", "NO_PROXY"):
        if said := values.get(name):
            os.environ.setdefault(name, said)


def _lines(error: ValidationError) -> list[str]:
    return [
        _line(str(one["loc"][0]), one["msg"].removeprefix("Value error, ").replace("Input should", "should"))
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _values(given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What is set, as it stands or in a file of its own, and what is wrong with such files."""
    values = {name: text for name in NAMES if (text := (given.get(name) or "").strip())}
    in_files, wrong = _read_secrets(given, values)
    values |= in_files
    quoted = [name for name, text in values.items() if name not in _AS_IT_IS and _QUOTED.fullmatch(text)]
    wrong += [_line(name, "has quotes around it") for name in quoted]
    return {name: text for name, text in values.items() if name not in quoted}, wrong


def _read_secrets(given: Mapping[str, str], values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The settings that stand in files of their own, and what is wrong with those files. The files are not ours: their
    modes stay, and their text is never shown."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name, setting in FILES.items():
        if not (path := (given.get(name) or "").strip()):
            continue
        if setting in values:
            wrong.append(f"{name}: is set, and {setting} as well; take one of them out")
            continue
        try:
            with Path(path).open("rb") as file:
                text = file.read(LONGEST_SECRET).decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"{error.strerror}"
            wrong.append(f"{name}: {path}: cannot be read ({reason}); write the path of a file that holds {setting}")
            continue
        if not text:
            wrong.append(f"{name}: {path}: is empty; write the value of {setting} into it")
        found[setting] = text
    return {name: text for name, text in found.items() if text}, wrong


def writes_to_journal(environ: Mapping[str, str] | None = None) -> bool:
    """Whether stderr goes to systemd's journal, as JOURNAL_STREAM says (sd-daemon(3), systemd.exec(5))."""
    said = (os.environ if environ is None else environ).get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return said == f"{status.st_dev}:{status.st_ino}"


def spoken_language(environ: Mapping[str, str] | None = None) -> Language:
    """The language of the terminal, as ``LC_ALL``, ``LC_MESSAGES`` or ``LANG`` say, if it is one of ours, else
    English. For what is shown before there is a rules file, whose language counts from then on."""
    given = os.environ if environ is None else environ
    said = next((text for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (text := given.get(name))), "")
    return said[:2].lower() if said[:2].lower() in LANGUAGES else FALL_BACK


def _line(name: str, problem: str) -> str:
    examples = Settings.model_fields[NAMES[name]].examples or []
    return f"{name}: {problem}; write {examples[0]}"


def _read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """What the file sets, and what is wrong with the file itself. Its lines are never repeated: they hold secrets."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            _close_to_others(path, os.fstat(file.fileno()))
            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        return {}, [f"{path}: {reason}; write lines NAME=value, as in .env.example"]
    found = {one.key: one.value for one in bindings if one.key is not None and one.value is not None}
    return found, [f"{path}:{one.original.line}: {fault}" for one in bindings if (fault := _fault_of(one))]


def _fault_of(binding: Binding) -> str:
    """What is wrong with a line of the file; "" for nothing."""
    if binding.error or (binding.key is not None and binding.value is None):
        return "is no NAME=value; write lines as in .env.example"
    if binding.key is None or not binding.key.startswith("BITRIX_") or binding.key in {*NAMES, *FILES}:
        return ""
    near = difflib.get_close_matches(binding.key, NAMES, n=1, cutoff=0) or [""]
    return f"{binding.key} is no setting; write {near[0]}, or take the line out"


def _close_to_others(path: Path, status: os.stat_result) -> None:
    if os.name != "posix" or not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return
    try:
        path.chmod(0o600)
    except OSError:
        logging.getLogger(__name__).warning("%s can be read by others and is not ours to change: run chmod 600", path)
