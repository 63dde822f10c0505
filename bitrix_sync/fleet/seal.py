"""Secrets of portals as the database keeps them: sealed with keys that are in a file, never in the database.

Who has both the file and the database has every portal; who has one of them has none.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from hashlib import scrypt
from importlib.util import find_spec
from pathlib import Path

from bitrix_sync.errors import SettingError, UserError
from bitrix_sync.settings import LONGEST_SECRET

MAKE = "(umask 077; openssl rand -base64 32 | tr +/ -_ > {path})"
"""The command of a shell that makes a key."""
_N, _R, _P = 2**14, 8, 1
"""What a guess of a password costs: about 50 ms and 16 MB."""


class Seals:
    """Keys of Fernet: the first seals, all open."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError for what is no key, ImportError without ``cryptography``."""
        from cryptography.fernet import Fernet, MultiFernet

        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._marks = [hmac.digest(base64.urlsafe_b64decode(key), b"token marks", "sha256") for key in keys]
        self._pages = hmac.digest(base64.urlsafe_b64decode(keys[0]), b"sessions of pages", "sha256")

    def seal(self, secret: str) -> bytes:
        """The secret as it is kept; nothing for "". The same one never looks the same twice."""
        return self._fernet.encrypt(secret.encode()) if secret else b""

    def open(self, sealed: bytes, of: str) -> str:
        """The secret; ``of``: whose it is, for people. UserError if none of the keys opens it."""
        from cryptography.fernet import InvalidToken

        if not sealed:
            return ""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise UserError(
                f"{of}: sealed with a key that BITRIX_SECRET_KEY_FILE does not hold; put that key back into the file as"
                " a line, or give the portal its secrets anew by `bitrix-sync portal apply`"
            ) from None

    def mark(self, token: str) -> str:
        """By what a token is known in the database: nobody without the key can try tokens on it."""
        return self.marks(token)[0]

    def marks(self, token: str) -> list[str]:
        """The token's marks by every key, the present one first."""
        return [hmac.new(key, token.encode(), "sha256").hexdigest() for key in self._marks]

    def page_key(self, number: int, salt: bytes) -> bytes:
        """What the sessions of a portal's page are signed with; ``salt``: the page's own."""
        return hmac.digest(self._pages, b"%d:%s" % (number, salt), "sha256")


def read_seals(path: Path | None) -> Seals:
    """The keys in the file that BITRIX_SECRET_KEY_FILE names. SettingError, with the cure, when there are none."""
    if path is None:
        raise SettingError(
            "BITRIX_SECRET_KEY_FILE: is not set, and secrets of portals are sealed with the key in it; write the path"
            f" of a file with a key: {MAKE.format(path='bitrix-sync.key')}"
        )
    try:
        with path.open("rb") as file:
            lines = file.read(LONGEST_SECRET).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise _wrong(path, "is no text") from None
    except OSError as fault:
        raise _wrong(path, f"cannot be read ({fault.strerror})") from None
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise _wrong(path, "holds no key")
    try:
        return Seals(keys)
    except ValueError:
        raise _wrong(path, f"line {_first_wrong(lines)} is no key") from None
    except ImportError:
        raise UserError(
            "secrets of portals are sealed by `cryptography`, which is missing: pip install 'bitrix-sync[fleet]'"
        ) from None


def need_queue() -> None:
    """Raise UserError where the program was installed without what many portals are served with."""
    if find_spec("procrastinate") is None:
        raise UserError("many portals need more than was installed: pip install 'bitrix-sync[fleet]'")


def _wrong(path: Path, what: str) -> SettingError:
    return SettingError(
        f"BITRIX_SECRET_KEY_FILE: {path} {what}; write the path of the file with the keys, one a line; a new one:"
        f" {MAKE.format(path=path)}"
    )


def _first_wrong(lines: Sequence[str]) -> int:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                Seals([line.strip()])
            except ValueError:
                return number
    return 0


def password_kept(password: str, salt: bytes | None = None) -> str:
    """A password as it is kept, "" for none: what it was cannot be told from that."""
    if not password:
        return ""
    salt = salt or secrets.token_bytes(16)
    made = scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=32)
    return f"scrypt:{salt.hex()}:{made.hex()}"


def password_fits(given: str, kept: str) -> bool:
    """Whether that is the password; takes as long whether it is or not."""
    _, salt, made = kept.split(":")
    return hmac.compare_digest(password_kept(given or "\0", bytes.fromhex(salt)).rpartition(":")[2], made)
