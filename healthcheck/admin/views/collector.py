# SPDX-License-Identifier: Apache-2.0

"""A report as the families of metrics that Prometheus scrapes.

This module needs the extra ``metrics``. Nothing is counted in here: the report
has counted, so each process that reads it gives the same figures.

A name is a promise, as alert rules are written with it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from importlib import metadata
import itertools
from typing import Any

from prometheus_client import core
from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client import utils

from healthcheck.admin.views import timeline
from healthcheck.answers import switches
from healthcheck.reports import history as history_module
from healthcheck.reports import report

Status = report.Status

DISTRIBUTION = 'openstack-healthcheck'

_UNKNOWN = 'unknown'
_DISABLED = 'disabled'
_BOUNDS = (*map(utils.floatToGoString, history_module.BUCKETS), '+Inf')


@dataclasses.dataclass(frozen=True, slots=True)
class Scrape:
    """What is known when somebody scrapes.

    :param found: None before there is a report
    :param switched: the verdicts on what is read per request
    :param shared: whether every worker of the host knows the same
    """

    found: report.Report | None
    switched: Mapping[str, report.Verdict]
    shared: bool


def written(collector: Collector, openmetrics: bool) -> tuple[str, bytes]:
    """(content type, text) in one of the formats."""
    if openmetrics:
        generate: Any = openmetrics_exposition.generate_latest
        return (openmetrics_exposition.CONTENT_TYPE_LATEST,
                generate(collector))
    # The same text is of version 1.0.0, too, which older servers refuse.
    return ('text/plain; version=0.0.4; charset=utf-8',
            exposition.generate_latest(collector))


class Collector:
    """What prometheus-client makes its text of.

    What a worker finds of itself is left out. One scrape meets one worker
    and the next scrape another one, so those series would jump.

    What is counted is left out where each worker counts for itself: Prometheus
    takes a counter that goes down for one that was reset.
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
        if self._known.shared:
            yield from self._counted()

    def _of_the_node(self) -> Iterator[core.Metric]:
        known = self._known
        status, _ = report.judge(self._verdicts())
        if known.found is None:
            status = Status.FAIL
        yield _gauge('status', 'Whether this is what callers are told of the '
                     'node.', ['status'], _one_of(status))
        yield _gauge('drained', 'Whether a file switch keeps the node out.',
                     [], [([], any(verdict.weight is Status.FAIL for verdict
                                   in known.switched.values()
                                   if verdict.name in switches.KINDS))])
        yield _gauge('report_shared', 'Whether all workers of the host answer '
                     'from one report. Where they do not, there are no '
                     'counters and no histogram.', [], [([], known.shared)])
        yield _info('build', 'The release of openstack-healthcheck.',
                    version=_version())
        prober = known.found.prober if known.found is not None else None
        if prober is not None:
            yield _info('prober', 'The process that probes.',
                        host=prober.host, program=prober.program)
            yield _gauge('prober_start_timestamp_seconds',
                         'When the process that probes was started.',
                         [], [([], prober.since)])

    def _of_each_check(self) -> Iterator[core.Metric]:
        checks = self._checks
        yield _gauge(
            'check_status', 'Whether this is the status of the check, its '
            'age included.', ['check', 'status'],
            [([verdict.name, *label], value) for verdict in self._verdicts()
             for label, value in _one_of(verdict.status)])
        yield _gauge(
            'check_critical', 'Whether the check can take the node out.',
            ['check'], [([verdict.name], verdict.critical)
                        for verdict in self._verdicts()])
        yield _per_check(
            'check_stale', 'Whether the last verdict is older than ttl.',
            ((c, c.verdict(self._moment.now).stale) for c in checks))
        yield _per_check(
            'check_consecutive_passes', 'How many probes in a row have found '
            'it well.', ((c, c.passes) for c in checks))
        yield _per_check(
            'check_consecutive_failures', 'How many probes in a row have '
            'not found it well.', ((c, c.fails) for c in checks))
        yield _gauge(
            'components', 'How many of the things that the check looks at '
            'are in a status.', ['check', 'status'],
            [([check.name, word], count) for check in checks
             for word, count in _components(check)])

    def _of_the_past(self) -> Iterator[core.Metric]:
        checks, past = self._checks, self._histories()
        yield _per_check(
            'check_last_verdict_timestamp_seconds', 'When the last verdict '
            'was reached.', ((c, c.time) for c in checks))
        yield _per_check(
            'check_last_success_timestamp_seconds', 'When a probe last found '
            'it well.', ((c, of.last_passed) for c, of in past))
        yield _per_check(
            'check_last_failure_timestamp_seconds', 'When it was last not '
            'found well.', ((c, of.last_failure.time) for c, of in past
                            if of.last_failure is not None))
        yield _per_check(
            'check_last_transition_timestamp_seconds', 'When it came to its '
            'status.', ((c, self._since(c)) for c, _ in past))

    def _counted(self) -> Iterator[core.Metric]:
        past = self._histories()
        yield _family(
            core.CounterMetricFamily, 'verdicts', 'Verdicts by probes. One '
            'that hangs is counted again for each time that it could have '
            'been repeated.', ['check', 'result'],
            [([check.name, result], count) for check, of in past
             for result, count in (('pass', of.passes), ('fail', of.fails))])
        yield _family(
            core.CounterMetricFamily, 'transitions', 'Changes of status.',
            ['check'], [([check.name], of.changes) for check, of in past])
        durations = core.HistogramMetricFamily(
            'healthcheck_probe_duration_seconds', 'How long probes took that '
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
        """The checks of which more than the present is known."""
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
    """A gauge that each check has, but for those whose value is None."""
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
    """How many there are of each status; not which, as they may be many."""
    if check.components:
        found = [one.status for one in check.components
                 if not one.disabled]
        for status in Status:
            yield status.word, found.count(status)
        yield _UNKNOWN, found.count(None)
        yield _DISABLED, len(check.components) - len(found)


def _printable(text: str) -> str:
    """``text`` without what cannot be written as UTF-8."""
    return text.encode(errors='replace').decode()


@functools.cache
def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from a copy of the source
        return _UNKNOWN
