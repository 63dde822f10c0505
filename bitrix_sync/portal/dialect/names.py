"""Names of the deal's fields: the codes that rules use, and the names of ``crm.item.*``.

Codes are the portal's upper-case ones (``upperName`` in crm.item.fields); the names of the older ``crm.deal.*`` are
understood too. User fields go by their camelCase names as well: ``useOriginalUfNames=Y`` exists since CRM 25.0.0 only,
and together with ``select`` it loses all other fields (b24-rest-docs issues 263 and 368).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bitrix_sync.model.items import DEAL


def item_name(code: str, names: Mapping[str, str]) -> str:
    """The name in ``crm.item.*`` of a field: as the portal lists it in ``names``, else as documented."""
    if code in names:
        return names[code]
    if code.startswith("UF_CRM_"):
        return _user_field_name(code.removeprefix("UF_CRM_"))
    new = DEAL.old_names.get(code, code)
    return names.get(new) or _camel(new)


def _user_field_name(rest: str) -> str:
    """The name of a user field (docs: crm/universal/index.md, "Field Naming Conventions"): only what mixes letters and
    digits keeps its form behind the prefix."""
    parts = re.fullmatch(r"(\d+)_(\d+)|(?:(\d+)_)?([A-Z_]+)", rest)
    if parts is None:
        return f"ufCrm_{rest}"
    owner, digits, other, letters = parts.groups()
    return f"ufCrm{owner}_{digits}" if digits else f"ufCrm{other or ''}{_camel('_' + letters)}"


def _camel(code: str) -> str:
    head, *tail = code.lower().split("_")
    return head + "".join(part.capitalize() for part in tail)


def code_of(name: str) -> str:
    """The upper-case code of a name in ``crm.item.*``: ``assignedById`` → ``ASSIGNED_BY_ID``."""
    if name.startswith("ufCrm_"):
        return f"UF_CRM_{name.removeprefix('ufCrm_')}"
    if name.startswith("UF_"):
        return name
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])", "_", name)
    return parted.upper()


def synonyms(code: str) -> tuple[str, ...]:
    """Other codes of the same field."""
    new = DEAL.old_names.get(code, code)
    return tuple(one for one in (new, *(old for old, name in DEAL.old_names.items() if name == new)) if one != code)


def values(row: Mapping[str, Any], codes: Iterable[str], names: Mapping[str, str]) -> dict[str, Any]:
    """Values of fields by code; a field that the row does not have is left out."""
    found = {}
    for code in sorted(codes):
        name = item_name(code, names)
        if name in row:
            found[code] = row[name]
    return found
