"""Logs on stderr, as text or JSON, of ours and of the libraries alike, every secret taken out of them.

The redactor works on the text that is about to be written, so it does not matter how a secret got there: in a message,
a value, a key, an exception's text, a traceback, or a library's debug line.
"""

from __future__ import annotations

import html
import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bitrix_sync.words.texts import UNSEEN, visible

HIDDEN = "***"

_ESCAPES = r"\\{0,15}"
"""Before a sign that was escaped up to four times over. Bounded, as is all that may come many times: whoever words a
text must not decide how long it is looked at."""
_SLASH = rf"(?:{_ESCAPES}/|%(?:25)*2F|{_ESCAPES}u002F|&#0*47;|&#x0*2F;|&sol;)"
_WEBHOOK = re.compile(rf"(?i)(rest{_SLASH}(?:api{_SLASH})?[0-9]+{_SLASH})[^\s\\/\"'<>?&#%,;(){{}}\[\]]+")
# invalid_token and expired_token are error codes of the portal, and what follows them is its explanation
_NAME = (
    r"(?:(?:application|access|refresh)_?token|client_?secret|password|passwd|secret|"
    r"(?<!invalid_)(?<!expired_)token|authorization|auth)"
)
# nor is what our own messages say of a setting with such a name: "BITRIX_APPLICATION_TOKEN: has a token with spaces"
_NAMED = re.compile(
    rf"(?i)((?<![a-z0-9]){_NAME}(?:\]|%5D|%255D)?{_ESCAPES}[\"']?\s*(?:=>|=|:|%3D)\s*(?:b?{_ESCAPES}[\"'])?(?:(?:basic|bearer)\s+)?)"
    r"(?:(?<=\")(?:\\.|[^\"\\])+|(?<=')(?:\\.|[^'\\])+|(?!has a token with spaces |is set, and )[^\s\"'\\&,;(){}\[\]]+)"
)
_SECRET_KEY = re.compile(rf"(?i)(?:^|[^a-z0-9]){_NAME}$")
_SHORTEST = 6  # a shorter secret is left to the patterns: it would eat innocent parts of words and numbers


class Redactor:
    """Takes secrets out of text: webhook codes and named tokens by their form, ``secrets`` wherever they are."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        longest_first = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(_any_spelling, longest_first)), re.IGNORECASE) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text with ``***`` for every secret."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _NAMED.sub(rf"\1{HIDDEN}", _WEBHOOK.sub(rf"\1{HIDDEN}", text))


def _any_spelling(secret: str) -> str:
    """The secret as it may travel: in either case, its signs as they are, percent-encoded (also twice), or escaped as
    JSON, Python or HTML have it."""
    return "".join(
        _any_backslashes(len(part)) if part[0] == "\\" else _any_sign(part) for part in _PARTS.findall(secret)
    )


_PARTS = re.compile(r"\\+|[^\\]", re.DOTALL)


def _any_backslashes(count: int) -> str:
    """So many of them, each perhaps escaped again."""
    return rf"(?:\\{{{count},{16 * count}}}+|(?:{'|'.join(_codes(chr(92)))}){{{count}}})"


def _any_sign(sign: str) -> str:
    codes = _codes(sign)
    if (named := html.escape(sign)) != sign:
        codes.append(named)
    if sign == " ":
        codes.append(r"\+")
    return f"(?:{_ESCAPES}{re.escape(sign)}|{'|'.join(codes)})"


def _codes(sign: str) -> list[str]:
    """How a sign is written by its number."""
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    escaped = "".join(rf"{_ESCAPES}u{units[at : at + 4]}" for at in range(0, len(units), 4))
    code = ord(sign)
    return [percent, escaped, f"&#0*{code};", f"&#x0*{code:x};", *([rf"{_ESCAPES}x{code:02x}"] if code < 256 else [])]


_redactor = Redactor()


def redact(text: str) -> str:
    """The text as a log line may carry it: for what reaches people by another road (answers, the page, stderr)."""
    return _redactor(text)


def redact_all(value: Any) -> Any:
    """The same for every text in a JSON-able value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact_all(key): redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def configure(
    form: Literal["text", "json"] = "text",
    secrets: Iterable[str] = (),
    *,
    stream: TextIO | None = None,
    level: int = logging.INFO,
    journal: bool = False,
) -> None:
    """Send every log line of the process to ``stream`` (None: the present stderr), redacted.

    Call it once at start, and again when the settings are known, with their ``secrets()``. Exceptions that nobody
    caught go the same way. ``journal``: each line begins with its priority, as systemd's journal reads it.
    """
    global _redactor
    _redactor = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if form == "json" else "%Y-%m-%d %H:%M:%S", utc=form == "json"),
        structlog.processors.StackInfoRenderer(),
        _hide_named,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [
            structlog.processors.format_exc_info,
            _redact_strings,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=lambda value: redact(str(value))),
            _escaped,
        ]
    else:
        last.append(_one_line)
        last.append(
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        )
    handler = _Handler(stream, journal=journal)
    formatter = structlog.stdlib.ProcessorFormatter if form == "json" else _TextFormatter
    handler.setFormatter(formatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, lowest in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(level, lowest))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


_LIBRARIES = {
    "urllib3": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "waitress": logging.WARNING,
    "waitress.queue": logging.ERROR,  # it warns of every single request that has to wait its turn in a burst
}


class _TextFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, and shows what a terminal would obey; JSON is redacted value by value before, so that
    it stays JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(redact(super().format(record)), keep="\n\t")


_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.NOTSET: 7}
"""The least level of a record and its priority in syslog."""


class _Handler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO | None, *, journal: bool) -> None:
        self._fixed, self._journal = stream, journal
        super().__init__(stream)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        rank = next(rank for level, rank in _PRIORITIES.items() if record.levelno >= level)
        return "\n".join(f"<{rank}>{line}" for line in text.split("\n"))

    @property
    def stream(self) -> TextIO:
        return self._fixed or sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that a line was lost; logging's own report would show the line's arguments as they are."""
        try:
            sys.stderr.write(f"a log line of {record.name} ({record.pathname}:{record.lineno}) could not be written\n")
        except (OSError, ValueError):
            return


def _hide_named(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Values under a secret's name, of whatever shape: the finished line no longer tells where such a value ends."""
    return {key: HIDDEN if _SECRET_KEY.search(key) else _hidden_inside(value) for key, value in event.items()}


def _hidden_inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(key, str) and _SECRET_KEY.search(key) else _hidden_inside(item)
            for key, item in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(_hidden_inside(item) for item in value)
    return value


def _redact_strings(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    redacted: EventDict = redact_all(event)
    return redacted


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A line end in an event's text must not begin what looks like another event; values are quoted by the renderer."""
    return {**event, "event": visible(str(event.get("event", "")), keep="\t")}


def _escaped(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return UNSEEN.sub(lambda sign: json.dumps(sign[0])[1:-1], str(line))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("bitrix_sync").critical("unexpected error", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        thread = args.thread.name if args.thread else "?"
        logging.getLogger("bitrix_sync").critical(
            "unexpected error in thread %s", thread, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
        )
