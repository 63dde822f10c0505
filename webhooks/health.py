"""``/healthz`` says that the process lives with all its threads, ``/readyz`` that it does its work, or why not."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, jsonify

from bitrix_sync.log import redact
from webhooks.work_seen import HealthSeen

log = structlog.get_logger(__name__)


def blueprint(service: HealthSeen) -> Blueprint:
    """The two addresses, for ``service``."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        state = service.alive()
        return Response(f"{redact(state.reason)}\n", 200 if state.ready else 503, mimetype="text/plain")

    @health.get("/readyz")
    def readyz() -> tuple[Response, int]:
        try:
            state = service.health()
            ready, reason = state.ready, state.reason
        except Exception as error:
            log.warning("health cannot be told", exc_info=True)
            ready, reason = False, f"health cannot be told: {error}"
        return jsonify(ready=ready, reason=redact(reason)), 200 if ready else 503

    return health
