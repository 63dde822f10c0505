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
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from dotenv.parser import parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bitrix_sync.errors import SettingError
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.words.language import FALL_BACK, LANGUAGES, Language

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
    if scheme.partition("+")[0] in ("postgres", "postgresql"):
        raise ValueError("names PostgreSQL, which this version cannot use yet")
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError("is no SQLite address")
    if not rest.startswith("/") or rest == "/" or rest.startswith(("/:memory:", "/?")):
        raise ValueError("names no file (three slashes before a relative path, four before an absolute one)")
    return value


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


def _proxy(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value[:60]!r} is not the address of one machine") from None


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
    rules: Path = Field(
        default=Path("rules.yaml"), alias="BITRIX_RULES", description="the rules", examples=["a path, as rules.yaml"]
    )
    database_url: Annotated[str, BeforeValidator(_database)] = Field(
        default="sqlite:///bitrix-sync.db",
        alias="DATABASE_URL",
        description="where the store is",
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
    log: Literal["text", "json"] = Field(
        default="text", alias="BITRIX_LOG", description="`text` or `json`", examples=["text or json"]
    )

    @property
    def webhook_url(self) -> WebhookUrl:
        """The webhook, for what cannot do without a portal; SettingError if none is set."""
        if self.portal is None:
            raise SettingError(_line("BITRIX_WEBHOOK_URL", "is not set"))
        return self.portal

    def secrets(self) -> tuple[str, ...]:
        """Everything that must never be written anywhere: for the redactor of the logs."""
        code = () if self.portal is None else (self.portal.code,)
        password = () if self.page_password is None else (self.page_password.get_secret_value(),)
        return code + tuple(token.get_secret_value() for token in self.application_tokens) + password


NAMES: Mapping[str, str] = {field.alias or name: name for name, field in Settings.model_fields.items()}
"""Environment name → attribute of ``Settings``."""


def load_settings(
    environ: Mapping[str, str] | None = None, dotenv_path: Path | None = Path(".env"), *, need_portal: bool = True
) -> Settings:
    """The settings from ``environ`` (None: the process's) over the file ``dotenv_path`` (None or missing: no file).

    An empty value means the default. A file that group or others may read is closed to them (0600): it holds the
    webhook. SettingError carries one line for every wrong setting, with what to write; no line shows a secret.
    ``need_portal``: whether a missing BITRIX_WEBHOOK_URL is one of them.
    """
    in_file, wrong = _read_dotenv(dotenv_path) if dotenv_path is not None else ({}, [])
    given = {**in_file, **(os.environ if environ is None else environ)}
    values = {name: text for name in NAMES if (text := (given.get(name) or "").strip())}
    if need_portal and "BITRIX_WEBHOOK_URL" not in values:
        wrong.append(_line("BITRIX_WEBHOOK_URL", "is not set"))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            problem = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
            wrong.append(_line(str(item["loc"][0]), problem))
        raise SettingError("\n".join(wrong)) from None
    if wrong:
        raise SettingError("\n".join(wrong))
    return settings


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
    found: dict[str, str] = {}
    wrong: list[str] = []
    for binding in bindings:
        where = f"{path}:{binding.original.line}"
        if binding.error or (binding.key is not None and binding.value is None):
            wrong.append(f"{where}: is no NAME=value; write lines as in .env.example")
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
            if binding.key.startswith("BITRIX_") and binding.key not in NAMES:
                near = difflib.get_close_matches(binding.key, NAMES, n=1, cutoff=0) or [""]
                wrong.append(f"{where}: {binding.key} is no setting; write {near[0]}, or take the line out")
    return found, wrong


def _close_to_others(path: Path, status: os.stat_result) -> None:
    if os.name != "posix" or not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return
    try:
        path.chmod(0o600)
    except OSError:
        logging.getLogger(__name__).warning("%s can be read by others and is not ours to change: run chmod 600", path)
