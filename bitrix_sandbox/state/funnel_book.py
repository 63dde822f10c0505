"""The forms of the sandbox's deals: funnels, stages, user fields, dictionaries; what administrators do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bitrix_sandbox.state.core import Core
from bitrix_sandbox.state.records import LOST, PROGRESS, Funnel, Stage, UserField


class FunnelBook(Core):
    """Funnels, stages, fields. Ids that are not there are KeyError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.funnels: dict[int, Funnel] = {}
        self.stages: dict[str, Stage] = {}
        self.deal_fields: dict[str, UserField] = {}
        self.dictionaries: dict[str, list[tuple[str, str]]] = {}
        self.currencies: dict[str, tuple[float, int]] = {"RUB": (1, 1), "USD": (90, 1), "KZT": (18, 100)}
        """The account's own first; of others what so many are worth in it."""
        self.required: dict[str, set[str]] = {}
        self.start_numbers("stage", 99)

    def add_funnel(self, name: str, *, funnel_id: int, sort: int = 100) -> int:
        """A new funnel."""
        self.funnels[funnel_id] = Funnel(funnel_id, name, sort)
        self.touch()
        return funnel_id

    def add_stage(
        self,
        stage_id: str,
        name: str,
        *,
        funnel: int = 0,
        semantic: str = PROGRESS,
        sort: int | None = None,
        color: str = "#39A8EF",
    ) -> str:
        """A new stage; ``stage_id`` without the funnel's prefix or with it. Gives the full id."""
        full = stage_id if not funnel or ":" in stage_id else f"C{funnel}:{stage_id}"
        place = sort if sort is not None else 10 * (1 + len(self.stages_of(funnel)))
        system = full.rpartition(":")[2] in ("NEW", "WON", "LOSE")
        apology = semantic == LOST and not system
        self.stages[full] = Stage(full, self.number("stage", 2), name, funnel, place, semantic, color, system, apology)
        self.touch()
        return full

    def stages_of(self, funnel_id: int) -> list[Stage]:
        """The funnel's stages in the portal's order."""
        return sorted((one for one in self.stages.values() if one.funnel_id == funnel_id), key=lambda one: one.sort)

    def rename_funnel(self, funnel_id: int, name: str) -> None:
        """Give a funnel another name."""
        self.funnels[funnel_id].name = name
        self.touch()

    def delete_funnel(self, funnel_id: int) -> None:
        """Take a funnel away with its stages; its deals keep the ids."""
        del self.funnels[funnel_id]
        for stage in self.stages_of(funnel_id):
            del self.stages[stage.id]
        self.touch()

    def rename_stage(self, stage_id: str, name: str) -> None:
        """Give a stage another name; its id stays."""
        self.stages[stage_id].name = name
        self.touch()

    def delete_stage(self, stage_id: str) -> None:
        """Take a stage away; deals and history keep its id."""
        del self.stages[stage_id]
        self.touch()

    def add_field(
        self,
        code: str,
        title: str,
        kind: str,
        *,
        multiple: bool = False,
        mandatory: bool = False,
        options: Mapping[Any, str] | Iterable[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """A new user field of deals. ``options`` are texts (ids are given) or texts by id."""
        self.deal_fields[code] = UserField(
            self.number("field", 2), code, title, kind, multiple, mandatory, self.choices(options), dict(settings or {})
        )
        self.touch()
        return code

    def delete_field(self, code: str) -> None:
        """Take a user field away; no method shows its values any more."""
        del self.deal_fields[code]
        self.touch()

    def require_field(self, stage_id: str, code: str) -> None:
        """Make a field obligatory for entering a stage."""
        self.required.setdefault(stage_id, set()).add(code)

    def allow_empty(self, stage_id: str, code: str) -> None:
        """Take back :meth:`require_field`."""
        self.required.get(stage_id, set()).discard(code)
