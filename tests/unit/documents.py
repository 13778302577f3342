# SPDX-License-Identifier: Apache-2.0

"""Reports of every kind, as a strategy and one by one."""

from __future__ import annotations

from hypothesis import strategies as st

from healthcheck.admin.views import detail
from healthcheck.admin.views import fleet as fleet_view
from healthcheck.admin.views import timeline
from healthcheck.probing import policy
from healthcheck.reports import drain
from healthcheck.reports import history
from healthcheck.reports import report

Status = report.Status
NOW = timeline.Moment(now=5000.0, time=1.6e9)
ANSWERING = {'pid': 7, 'host': 'node1', 'program': 'nova-api'}

_texts = st.text(max_size=30)
_names = st.text('abcdefghijklmnopqrstuvwxyz_-0123456789', min_size=1,
                 max_size=20)
_times = st.floats(NOW.time - 1e6, NOW.time)
_seconds = st.floats(0, 100)
_statuses = st.sampled_from(Status)
_transitions = st.builds(
    history.Transition, time=_times, status=_statuses,
    reason=st.text(min_size=1, max_size=30), detail=_texts,
    cause=st.sampled_from([history.PROBE, history.TRAFFIC, history.REFRESH]))
_histories = st.builds(
    history.History,
    transitions=st.lists(_transitions, max_size=5).map(
        lambda found: tuple(sorted(found, key=lambda one: one.time))),
    last_failure=st.none() | _transitions, last_passed=st.none() | _times,
    latencies=st.lists(_seconds, max_size=5).map(tuple))
_components = st.builds(
    report.Component, name=st.text(min_size=1, max_size=20),
    status=st.none() | _statuses, reason=st.text(min_size=1, max_size=20),
    detail=_texts, latency=st.none() | _seconds, since=st.none() | _times) | (
    st.builds(report.Component, name=st.text(min_size=1, max_size=20),
              status=st.none(), reason=st.text(min_size=1, max_size=20),
              detail=_texts, disabled=st.just(True)))
_monotonic = st.floats(0, NOW.now)
checks = st.builds(
    report.CheckReport, name=_names, status=_statuses,
    reason=st.text(min_size=1, max_size=30), detail=_texts,
    judged_at=_monotonic, ttl=st.floats(0.2, 1e4), time=_times, label=_texts,
    critical=st.booleans(), per_worker=st.booleans(),
    started_at=st.none() | _monotonic, due_at=st.none() | _seconds.map(
        lambda seconds: NOW.now + seconds),
    latency=st.none() | _seconds,
    components=st.lists(_components, max_size=4).map(tuple),
    evidence=st.none() | st.builds(report.Evidence, at=_monotonic,
                                   calls=st.integers(0, 10 ** 6)),
    history=st.none() | _histories)
_probers = st.builds(report.ProberProcess, pid=st.integers(1), host=_texts,
                     program=_texts, since=_times)
reports = st.builds(
    report.Report,
    checks=st.lists(checks, max_size=4, unique_by=lambda one: one.name)
    .map(tuple),
    prober=st.none() | _probers, refreshed_at=st.none() | _monotonic)


def a_check(name: str = 'database', status: Status = Status.PASS,
            *changes: tuple[float, Status], **more: object,
            ) -> report.CheckReport:
    """One that was judged a second ago.

    :param changes: how many seconds ago it came to what
    """
    reason = 'OK' if status is Status.PASS else 'CONNECTION REFUSED'
    past = history.History(transitions=tuple(
        history.Transition(NOW.time - ago, came_to, came_to.name)
        for ago, came_to in changes))
    given = {'reason': reason, 'detail': '', 'judged_at': NOW.now - 1,
             'ttl': 30.0, 'time': NOW.time - 1, 'history': past, **more}
    return report.CheckReport(name=name, status=status,
                              **given)  # type: ignore[arg-type]


def a_document(*checks: report.CheckReport,
               found: report.Report | None = None,
               switched: tuple[report.Verdict, ...] = (), silence: str = '',
               moment: timeline.Moment = NOW,
               drains: tuple[drain.Drain, ...] = (),
               fleet: fleet_view.KnownFleet | None = None, **options: object,
               ) -> detail.Document:
    known = detail.Known(
        found or report.Report(checks),
        {verdict.name: verdict for verdict in switched}, silence, ANSWERING,
        [report.Verdict.of('drain', Status.FAIL, 'DRAINED')] if drains else [],
        drains, fleet=fleet)
    return detail.document(known, policy.Policy(), options, moment)
