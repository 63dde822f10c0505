"""A look at a store that leaves no trace: a copy of it in a temporary directory, to read in and to play with."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bitrix_sync.errors import StoreError
from bitrix_sync.store.dialects import dialect_of
from bitrix_sync.store.schema import DEFAULT_PORTAL
from bitrix_sync.store.store import Store


@contextlib.contextmanager
def scratch_copy(url: str, portal: int = DEFAULT_PORTAL) -> Iterator[Store]:
    """A store with all that the one at ``url`` holds now of a portal (an empty one if there is none), gone afterwards.

    Neither the original, nor its directory, nor a service that runs on it notices anything. Raises StoreError.
    """
    with tempfile.TemporaryDirectory(prefix="bitrix-sync-") as place:
        copy = Path(place) / "store.db"
        name = dialect_of(url).copy(url, copy, portal)
        try:
            store = Store(f"sqlite:///{copy}")
        except StoreError as fault:
            raise StoreError(str(fault).replace(str(copy), name)) from None
        with store:
            yield store


def restore(store: Store, backup: Path, epoch: int) -> None:
    """What a backup holds in place of what the store does; ``epoch``: of the lease, which is given back. The backup
    stays as it is, also one of an older version. Raises StoreError, and then nothing has changed."""
    if not backup.is_file() or not backup.stat().st_size:
        raise StoreError(f"backup {backup}: there is no such file, or it is empty; name one that `backup` wrote")
    with scratch_copy(f"sqlite:///{backup}") as source:
        store.take_over(source, epoch)
