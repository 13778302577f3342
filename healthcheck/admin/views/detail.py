# SPDX-License-Identifier: Apache-2.0

"""The document for admins. Each format is made from it.

It is the body of ``application/json``. A time is an object with two values:
RFC 3339, and seconds from the moment of reading, as ``age_seconds`` or
``in_seconds``. What is not known is null.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from healthcheck.admin.views import fleet as fleet_module
from healthcheck.admin.views import timeline
from healthcheck.answers import balancers
from healthcheck.answers import holding
from healthcheck.answers import render
from healthcheck.config import redact
from healthcheck.config import views
from healthcheck.probing import policy as policy_module
from healthcheck.reports import advice
from healthcheck.reports import drain
from healthcheck.reports import history
from healthcheck.reports import report

Document = dict[str, Any]
Moment = timeline.Moment


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """The data for one answer.

    :param found: all checks; None before there is a report
    :param switched: the verdicts on what is read per request
    :param silence: what everybody sees while there are no verdicts
    :param answering: the process that answers, by its :func:`name`
    :param out: what takes the node out on purpose
    :param drains: those of operators
    :param sightings: what this process has heard from balancers
    :param held: whether a balancer was told that the node stays in, although
        it fails
    :param fleet: what is known of the other nodes; None if it is in no fleet
    """

    found: report.Report | None
    switched: Mapping[str, report.Verdict]
    silence: str
    answering: Document
    out: Sequence[report.Verdict] = ()
    drains: Sequence[drain.Drain] = ()
    sightings: Sequence[balancers.Sighting] = ()
    held: bool = False
    fleet: fleet_module.KnownFleet | None = None


def document(known: Known, policy: policy_module.Policy,
             options: Mapping[str, Any], moment: Moment) -> Document:
    """The document, judged now.

    :param options: the effective ones, as :func:`effective` returns them
    """
    found = known.found
    checks = found.checks if found is not None else ()
    own = {check.name: check.verdict(moment.now) for check in checks}
    status, judged = report.judge([*own.values(), *known.switched.values(),
                                   *known.out])
    # A node that is held has been failing since then.
    since = None if known.silence else timeline.node_since(
        status, checks, moment)
    if known.drains:
        since = min([each.since for each in known.drains]
                    + ([since] if since is not None else []))
    held = holding.hold(
        judged, holding.as_last(holding.shared(checks, moment.now))
        if known.held else holding.held(found, moment.now))
    if held is not None:
        status, judged = report.judge(held)
    reasons = [verdict.reason for verdict in judged
               if verdict.weight is status is not report.Status.PASS]
    if known.silence:
        status, reasons = report.Status.FAIL, [known.silence]
    verdicts = {verdict.name: verdict for verdict in judged}
    return {
        'status': status.word,
        'reason': '; '.join(reasons) or report.OK,
        'since': moment.past(since),
        'drains': drains(known.drains, moment),
        'time': render.timestamp(moment.time),
        'answered_by': known.answering,
        'prober': _process(found.prober if found else None, moment),
        'refreshed': moment.since(found.refreshed_at if found else None),
        'detection_seconds': round(policy.detection, 3),
        'checks': [_check(check, verdicts[check.name], moment)
                   for check in checks],
        'switches': [_switch(verdict)
                     for verdict in known.switched.values()],
        'balancers': [_sighting(each, moment) for each in known.sightings],
        'fleet': None if known.fleet is None else fleet_module.summary(
            known.fleet, moment),
        'configuration': dict(options)}


def drains(found: Sequence[drain.Drain], moment: Moment) -> list[Document]:
    """What operators have drained; also the answer to an admin who drains."""
    return [_drain(each, moment) for each in found]


def _drain(of: drain.Drain, moment: Moment) -> Document:
    return {'scope': of.scope, 'reason': of.reason, 'by': of.by,
            'since': moment.past(of.since),
            'ends': None if of.until is None else {
                'time': render.timestamp(of.until),
                'in_seconds': round(max(0.0, of.until - moment.time), 3)}}


def effective(view: views.View) -> dict[str, Any]:
    """The effective options of group ``[healthcheck]``, without secrets.

    Of a secret option, only whether it is set is shown. In any other option,
    text that looks like credentials is masked.
    """
    redactor = redact.Redactor()
    values = vars(view.healthcheck)
    return {name: redact.MASK if opt.secret and values[name]
            else _plain(values[name], redactor)
            for name, opt in sorted(view.options.items())}


def _plain(value: Any, redactor: Callable[[object], str]) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, redactor) for item in value]
    return redactor(value)


def _check(check: report.CheckReport, verdict: report.Verdict,
           moment: Moment) -> Document:
    past = check.history or history.History()
    running = None if check.started_at is None else (
        moment.now - check.started_at)
    return {
        'name': check.name,
        'status': verdict.status.word,
        'reason': verdict.reason,
        'detail': check.detail,
        'advice': '' if verdict.status is report.Status.PASS
        else advice.of(check.verdict(moment.now).reason),
        'critical': check.critical,
        'stale': verdict.stale,
        'per_worker': check.per_worker,
        'since': moment.past(_last(timeline.changes(check, moment))),
        'judged': {'time': render.timestamp(check.time),
                   'age_seconds': _seconds(moment.now - check.judged_at)},
        'traffic': _traffic(check.evidence, moment),
        'latency_seconds': _seconds(check.latency),
        'running_seconds': _seconds(running),
        # While a probe runs, "due_at" is when it will be overdue.
        'next_probe': None if running is not None else moment.until(
            check.due_at),
        'passes_in_row': check.passes,
        'fails_in_row': check.fails,
        'last_passed': moment.past(past.last_passed),
        'last_failure': _transition(past.last_failure, moment),
        'transitions': [_transition(each, moment)
                        for each in past.transitions],
        'latencies_seconds': [_seconds(each) for each in past.latencies],
        'components': [_component(each, moment)
                       for each in check.components]}


def _traffic(evidence: report.Evidence | None,
             moment: Moment) -> Document | None:
    """What stood in for the last probe; None if there was a probe."""
    at = None if evidence is None else moment.since(evidence.at)
    return None if evidence is None or at is None else {
        **at, 'calls': evidence.calls}


def _component(component: report.Component, moment: Moment) -> Document:
    return {'name': component.name,
            'status': component.status.word
            if component.status is not None else None,
            'disabled': component.disabled,
            'reason': component.reason,
            'detail': component.detail,
            'latency_seconds': _seconds(component.latency),
            'since': moment.past(component.since)}


def _switch(verdict: report.Verdict) -> Document:
    return {'name': verdict.name, 'status': verdict.status.word,
            'reason': verdict.reason, 'critical': verdict.critical}


def _sighting(sighting: balancers.Sighting, moment: Moment) -> Document:
    said = sighting.statement
    return {'balancer': said.node, 'address': sighting.address,
            'server': said.server, 'state': said.state,
            'weight': said.weight, 'usable_weight': said.usable,
            'last': said.last, 'held': sighting.held,
            'seen': moment.since(sighting.at)}


def _process(process: report.ProberProcess | None,
             moment: Moment) -> Document | None:
    return None if process is None else {
        **name(process), 'since': moment.past(process.since)}


def name(process: report.ProberProcess) -> Document:
    """How an admin can find a process."""
    return {'pid': process.pid, 'host': process.host,
            'program': process.program}


def _transition(transition: history.Transition | None,
                moment: Moment) -> Document | None:
    return None if transition is None else {
        'time': render.timestamp(transition.time),
        'age_seconds': moment.age(transition.time),
        'status': transition.status.word, 'reason': transition.reason,
        'detail': transition.detail, 'cause': transition.cause}


def _seconds(value: float | None) -> float | None:
    """Rounded to 0.1 ms: more is noise."""
    return None if value is None else round(max(0.0, value), 4)


def _last(found: Sequence[timeline.Change]) -> float | None:
    return found[-1][0] if found else None
