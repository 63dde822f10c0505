"""``/metrics`` for Prometheus: the service's figures as they are when asked for, and the count of deliveries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import structlog
from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from bitrix_sync import __version__
from webhooks.event_endpoint import Deliveries
from webhooks.work_seen import WorkSeen

PREFIX = "bitrix_sync_"
LABELS: Mapping[str, str] = {"operations": "state", "portals": "state"}
"""Figures that come as ``family_label`` (``operations_planned``): the name of the label."""
HELP: Mapping[str, str] = {
    "last_pass_age_seconds": "Seconds since the last pass ended; -1 before the first",
    "last_sweep_age_seconds": "Seconds since the last sweep began, of whatever name; -1 before the first",
    "sweep_unfit": "Tasks for which the last sweep found no day with room",
    "tasks_lent": "Open tasks that are with a substitute while their owner is away",
    "late": "Open tasks that were not done by what was promised, whatever their deadline is now",
    "over_limit": "Deals in progress over their stage's limit",
    "idle": "Deals in progress without a next step for longer than the rules allow",
    "moves_for_absence": "Moves of deadlines by sweeps because of absences, in all",
    "sweeps_missed": "How many of the last thirty sweeps were skipped, as their time had passed unused",
    "operations": "Operations in the store by state",
    "portals": "Portals of the fleet by state; late ones had no pass in their time",
    "oldest_due_seconds": "How long the portal waits that is due longest; 0 when none is",
    "pass_age_p50_seconds": "Seconds since the last pass that ended well: half of the portals have less",
    "pass_age_p95_seconds": "The same: of 100 portals 95 have less",
    "requests_total": "HTTP requests to the portal since the start",
    "bucket_free": "Requests that the portal would take at once",
    "rules_refused": "1 while the rules file has errors and the last good one is in force",
    "stuck": "Operations that are being sent for more than five minutes, which none ever should",
    "bad_rows": "Rows of the portal's that cannot be read and are left out",
    "ready": "1 while /readyz answers 200",
    "paused": "1 while a pause keeps everything from being written",
    "watch": "1 while the rules file says watch: true, and nothing is written",
    "database_bytes": "Size of the store, with its log",
    "last_backup": "When the store was last copied by the backup command, Unix time; 0 if never",
}

log = structlog.get_logger(__name__)


class Figures(Collector):
    """Asks the service at every scrape; a service that cannot answer gives ``bitrix_sync_up 0`` and no figures."""

    def __init__(self, service: WorkSeen, deliveries: Deliveries) -> None:
        self._service = service
        self._deliveries = deliveries

    def describe(self) -> Iterable[Metric]:
        """Nothing: what the figures are is known when they are asked for."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All families."""
        try:
            numbers = self._service.numbers()
        except Exception:
            log.warning("the figures cannot be read", exc_info=True)
            numbers = None
        yield GaugeMetricFamily(f"{PREFIX}up", "1 if the service could tell its figures", 0 if numbers is None else 1)
        yield GaugeMetricFamily(
            f"{PREFIX}start_time_seconds", "When the process began, Unix time", self._service.started.timestamp()
        )
        info = InfoMetricFamily(f"{PREFIX.rstrip('_')}", "What runs here")
        info.add_metric([], {"version": __version__})
        yield info
        events = CounterMetricFamily(f"{PREFIX}events", "Deliveries to the event address by answer", labels=["status"])
        for status, count in sorted(self._deliveries.counts().items()):
            events.add_metric([str(status)], count)
        yield events
        yield from families(numbers or {})


def families(numbers: Mapping[str, float]) -> Iterable[Metric]:
    """The figures as Prometheus has them: ``x_total`` a counter, all else a gauge; see ``LABELS`` for the labels."""
    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for key, value in numbers.items():
        family, label = _split(key)
        if family not in found:
            kind = CounterMetricFamily if family.endswith("_total") else GaugeMetricFamily
            name = PREFIX + re.sub(r"[^A-Za-z0-9_]", "_", family)
            found[family] = kind(
                name, HELP.get(family, family.replace("_", " ")), labels=[LABELS[family]] if label else []
            )
        found[family].add_metric([label] if label else [], value)
    return found.values()


def _split(key: str) -> tuple[str, str]:
    for family in LABELS:
        if key.startswith(f"{family}_"):
            return family, key[len(family) + 1 :]
    return key, ""


def blueprint(service: WorkSeen, deliveries: Deliveries) -> Blueprint:
    """The address, for ``service`` and what came to the event address."""
    metrics = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(Figures(service, deliveries))

    @metrics.get("/metrics")
    def show() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return metrics
