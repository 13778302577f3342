# SPDX-License-Identifier: Apache-2.0

"""A report as the families of metrics that Prometheus scrapes.

This module needs the extra ``metrics``. It counts nothing: the counts are in
the report, so each process that reads it gives the same figures.

Names must not change, because alert rules use them.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any

from prometheus_client import core
from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client import utils

from healthcheck.admin.views import fleet
from healthcheck.admin.views import timeline
from healthcheck.answers import holding
from healthcheck.answers import switches
from healthcheck.reports import drain
from healthcheck.reports import history as history_module
from healthcheck.reports import release
from healthcheck.reports import report

Status = report.Status

_UNKNOWN = 'unknown'
_DISABLED = 'disabled'
_BOUNDS = (*map(utils.floatToGoString, history_module.BUCKETS), '+Inf')


@dataclasses.dataclass(frozen=True, slots=True)
class Scrape:
    """The data for one scrape.

    :param found: None before there is a report
    :param switched: the verdicts on what is read per request
    :param shared: whether all workers of the host have the same report
    :param out: what takes the node out on purpose
    :param drains: those of operators
    :param held: whether a balancer was told that the node stays in, although
        it fails
    :param fleet: what is known of the other nodes; None if it is in no fleet
    """

    found: report.Report | None
    switched: Mapping[str, report.Verdict]
    shared: bool
    out: Sequence[report.Verdict] = ()
    drains: Sequence[drain.Drain] = ()
    held: bool = False
    fleet: fleet.KnownFleet | None = None


def written(collector: Collector, openmetrics: bool) -> tuple[str, bytes]:
    """(content type, text) in one of the formats."""
    if openmetrics:
        generate: Any = openmetrics_exposition.generate_latest
        return (openmetrics_exposition.CONTENT_TYPE_LATEST,
                generate(collector))
    # Version 1.0.0 has the same text, but older servers refuse it.
    return ('text/plain; version=0.0.4; charset=utf-8',
            exposition.generate_latest(collector))


class Collector:
    """The input of prometheus-client.

    A worker's checks of itself are left out. Each scrape may meet another
    worker, so those series would jump.

    Counters are left out if each worker counts for itself: Prometheus takes a
    counter that goes down for a reset.
    """

    def __init__(self, known: Scrape, moment: timeline.Moment) -> None:
        self._known = known
        self._moment = moment
        found = known.found
        self._checks = [] if found is None else [
            check for check in found.checks if not check.per_worker]

    def collect(self) -> Iterator[core.Metric]:
        yield from self._of_the_node()
        yield from self._of_each_check()
        yield from self._of_the_past()
        if self._known.fleet is not None:
            yield from self._of_the_fleet(self._known.fleet)
        if self._known.shared:
            yield from self._counted()

    def _of_the_node(self) -> Iterator[core.Metric]:
        known = self._known
        status, judged = report.judge([*self._verdicts(), *known.out])
        held = known.held or holding.hold(judged, holding.held(
            known.found, self._moment.now)) is not None
        if known.found is None:
            status = Status.FAIL
        elif held:
            status = Status.WARN
        yield _gauge('status', 'Whether the node has this status for '
                     'callers.', ['status'], _one_of(status))
        yield _gauge('drained', 'Whether a drain or a file switch keeps the '
                     'node out.', [], [([], bool(known.out) or any(
                         verdict.weight is Status.FAIL for verdict
                         in known.switched.values()
                         if verdict.name in switches.KINDS))])
        yield _gauge('drain_ends_timestamp_seconds', 'When a drain ends by '
                     'itself.', ['scope'], [
                         ([each.scope], each.until) for each in known.drains
                         if each.until is not None])
        yield _gauge('held', 'Whether the node stays in although it fails, '
                     'see shared_failure.', [], [([], held)])
        yield _gauge('report_shared', 'Whether all workers of the host answer '
                     'from one report. If not, there are no '
                     'counters and no histogram.', [], [([], known.shared)])
        yield _info('build', 'The release of openstack-healthcheck.',
                    version=release.version())
        prober = known.found.prober if known.found is not None else None
        if prober is not None:
            yield _info('prober', 'The process that probes.',
                        host=prober.host, program=prober.program)
            yield _gauge('prober_start_timestamp_seconds',
                         'When the process that probes started.',
                         [], [([], prober.since)])

    def _of_each_check(self) -> Iterator[core.Metric]:
        checks = self._checks
        yield _gauge(
            'check_status', 'Whether the check has this status, including '
            'staleness.', ['check', 'status'],
            [([verdict.name, *label], value) for verdict in self._verdicts()
             for label, value in _one_of(verdict.status)])
        yield _gauge(
            'check_critical', 'Whether the check can take the node out.',
            ['check'], [([verdict.name], verdict.critical)
                        for verdict in self._verdicts()])
        yield _per_check(
            'check_stale', 'Whether the last result is older than ttl.',
            ((c, c.verdict(self._moment.now).stale) for c in checks))
        yield _per_check(
            'check_consecutive_passes', 'Number of successful probes in a '
            'row.', ((c, c.passes) for c in checks))
        yield _per_check(
            'check_consecutive_failures', 'Number of failed probes in a '
            'row.', ((c, c.fails) for c in checks))
        yield _per_check(
            'check_traffic_calls', 'Calls of the service that stood in for '
            'the last probe. Absent if there was a probe.',
            ((c, c.evidence.calls) for c in checks
             if c.evidence is not None))
        yield _gauge(
            'components', 'Number of components of the check in each '
            'status.', ['check', 'status'],
            [([check.name, word], count) for check in checks
             for word, count in _components(check)])

    def _of_the_past(self) -> Iterator[core.Metric]:
        checks, past = self._checks, self._histories()
        yield _per_check(
            'check_last_verdict_timestamp_seconds', 'Time of the last '
            'result.', ((c, c.time) for c in checks))
        yield _per_check(
            'check_last_success_timestamp_seconds', 'Time of the last '
            'success.', ((c, of.last_passed) for c, of in past))
        yield _per_check(
            'check_last_failure_timestamp_seconds', 'Time of the last '
            'failure.', ((c, of.last_failure.time) for c, of in past
                         if of.last_failure is not None))
        yield _per_check(
            'check_last_transition_timestamp_seconds', 'When the current '
            'status began.', ((c, self._since(c)) for c, _ in past))

    def _of_the_fleet(self,
                      known: fleet.KnownFleet) -> Iterator[core.Metric]:
        now = self._moment.now
        yield _gauge(
            'fleet_nodes', 'Number of nodes of the fleet in each state, as '
            'this node knows it.', ['state'],
            [([state], count) for state, count in known.states(now).items()])
        yield _gauge('fleet_store_up', 'Whether the store of the fleet can '
                     'be used.', [], [([], known.usable(now))])
        read_at = known.read_at(now)
        yield _gauge('fleet_view_age_seconds', 'Time since the store of the '
                     'fleet was last read. Absent if it never was.', [],
                     [] if read_at is None else [([], now - read_at)])

    def _counted(self) -> Iterator[core.Metric]:
        past = self._histories()
        yield _family(
            core.CounterMetricFamily, 'verdicts', 'Results of probes. A probe '
            'that hangs counts again each time that another one would have '
            'timed out.', ['check', 'result'],
            [([check.name, result], count) for check, of in past
             for result, count in (('pass', of.passes), ('fail', of.fails))])
        yield _family(
            core.CounterMetricFamily, 'stand_ins', 'How often calls of the '
            'service stood in for a probe.', ['check'],
            [([check.name], of.stand_ins) for check, of in past])
        yield _family(
            core.CounterMetricFamily, 'transitions', 'Changes of status.',
            ['check'], [([check.name], of.changes) for check, of in past])
        durations = core.HistogramMetricFamily(
            'healthcheck_probe_duration_seconds', 'Duration of probes that '
            'have ended.', labels=['check'], unit='seconds')
        for check, of in past:
            durations.add_metric(
                [_printable(check.name)],
                list(zip(_BOUNDS, itertools.accumulate(of.counts),
                         strict=True)), of.seconds)
        yield durations

    def _verdicts(self) -> list[report.Verdict]:
        return [*(check.verdict(self._moment.now) for check in self._checks),
                *self._known.switched.values()]

    def _histories(self) -> list[tuple[report.CheckReport,
                                       report.History]]:
        """The checks with a history."""
        return [(check, check.history) for check in self._checks
                if check.history is not None]

    def _since(self, check: report.CheckReport) -> float | None:
        changes = timeline.changes(check, self._moment)
        return round(changes[-1][0], 3) if changes else None


Samples = Iterable[tuple[Sequence[str], float]]


def _family(kind: Callable[..., Any], name: str, help: str,
            labels: Sequence[str], samples: Samples) -> core.Metric:
    unit = 'seconds' if name.endswith('_seconds') else ''
    made = kind(f'healthcheck_{name}', help, labels=labels, unit=unit)
    for values, value in samples:
        made.add_metric([_printable(text) for text in values], value)
    family: core.Metric = made
    return family


_gauge = functools.partial(_family, core.GaugeMetricFamily)


def _per_check(name: str, help: str, values: Iterable[
        tuple[report.CheckReport, float | None]]) -> core.Metric:
    """A gauge for each check whose value is not None."""
    return _gauge(name, help, ['check'], [
        ([check.name], value) for check, value in values
        if value is not None])


def _info(name: str, help: str, **labels: str) -> core.Metric:
    return core.InfoMetricFamily(
        f'healthcheck_{name}', help,
        {key: _printable(text) for key, text in labels.items()})


def _one_of(status: Status) -> Samples:
    return [([each.word], each is status) for each in Status]


def _components(check: report.CheckReport) -> Iterator[tuple[str, int]]:
    """The number of components in each status; not their names."""
    if check.components:
        found = [one.status for one in check.components
                 if not one.disabled]
        for status in Status:
            yield status.word, found.count(status)
        yield _UNKNOWN, found.count(None)
        yield _DISABLED, len(check.components) - len(found)


def _printable(text: str) -> str:
    """``text`` without characters that UTF-8 cannot encode."""
    return text.encode(errors='replace').decode()
