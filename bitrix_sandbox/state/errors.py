"""The portal's errors. Whoever finds something wrong raises them; the entry writes them as the called version does."""

from __future__ import annotations

V3_PREFIX = "BITRIX_REST_V3_EXCEPTION_"


class RestError(Exception):
    """An error of the portal: code, text, HTTP status when the call stands alone."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(f"{code}: {description}")
        self.code, self.description, self.status = code, description, status


class V3Error(RestError):
    """An error of REST 3.0; ``code`` without its long prefix. ``validation``: which field, what is wrong with it."""

    def __init__(
        self, code: str, description: str, status: int = 400, *, validation: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(V3_PREFIX + code, description, status)
        self.validation = validation
