# SPDX-License-Identifier: Apache-2.0

"""The pages for anonymous callers, built when something changes.

A request picks one of these pages and never builds one. The exception is
``exclude``, whose values cannot be known beforehand; those pages are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import re
import threading
import time as time_module
from urllib import parse

import cachetools

from healthcheck.answers import holding
from healthcheck.answers import render
from healthcheck.answers import switches
from healthcheck.reports import report

# What an answer may repeat to a caller: only text in the shape of a name.
_NAME = re.compile(r'[A-Za-z0-9_.-]{1,64}')
_MAX_EXCLUDED = 16
_MAX_NOTES = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Reports:
    """The reports of a process. None is a report that has not come yet.

    :param shared: the prober's results, the same for all workers
    :param own: this process's results about itself
    """

    shared: report.Report | None
    own: report.Report | None

    @property
    def checks(self) -> list[report.CheckReport] | None:
        """All of them; None before every report is there."""
        if self.shared is None or self.own is None:
            return None
        return [*self.shared.checks, *self.own.checks]


_NOTHING = Reports(None, None)
_NO_HOLDS: Mapping[str, str] = {}


class Pages:
    """The pages for one state of the reports and of the file switches.

    :param names: the configured checks, in the order of their lines
    :param switched: the verdicts of the file switches
    :param out: what takes the node out on purpose; it counts for readiness
        alone, and cannot be excluded
    :param now: when the reports are judged, in monotonic seconds
    :param reason: the line while there is no report
    :param last_stays: whether the last usable node stays in, if all that
        fails is shared with the others
    :ivar out: what takes the node out on purpose
    :ivar verdicts: on each check; empty before there is a report
    :ivar last: readiness for a balancer that has no other usable server
    :ivar held: the reasons for which this node is out, and stays in if it is
        the last one; empty if none or not all of them allow that
    :ivar expires_at: when a result's age changes a page
    :ivar unknown: whether there is no result of any backend
    """

    def __init__(self, names: Sequence[str], reports: Reports,
                 switched: Mapping[str, report.Verdict],
                 out: Sequence[report.Verdict] = (), *,
                 state: switches.State, detailed: bool,
                 now: float, time: float,
                 reason: str = report.STARTING,
                 last_stays: bool = False) -> None:
        self.reports = reports
        self.state = state
        self.out = out
        self._last_node: Mapping[str, str] = {}
        self._held_by_others: Mapping[str, str] = {}
        self._detailed = detailed
        self._time = time
        checks = reports.checks
        self.unknown = checks is None or bool(
            reports.shared and reports.shared.stale(now))
        holds = reports.shared.holds if reports.shared else ()
        self.expires_at = min((at for at in (
            *(c.stale_at for c in checks or ()), *(h.until for h in holds))
            if at > now), default=math.inf)
        if checks is None:
            self.verdicts: list[report.Verdict] = []
            self.held = ''
            nothing = render.Rendering(
                [], report.Status.FAIL, notes=[reason], detailed=detailed,
                time=time)
            self.ready = render.Rendering(
                out, report.Status.FAIL, notes=[reason], detailed=detailed,
                time=time) if out else nothing
            self.checks = dict.fromkeys(names, nothing)
        else:
            verdicts = dict(switched)
            verdicts.update((c.name, c.verdict(now)) for c in checks)
            self.verdicts = [verdicts[name] for name in names]
            if last_stays:
                self._last_node = holding.as_last(
                    holding.shared(checks, now))
            self._held_by_others = holding.held(reports.shared, now)
            self.ready = self._without(frozenset(), last=False)
            self.held = self._held()
            self.checks = {v.name: self._alone(v) for v in self.verdicts}
        self.last = (self._without(frozenset(), last=True) if self.held
                     else self.ready)
        # cachetools, for its bound: callers may send any number of values.
        self._excluding: cachetools.LRUCache[
            tuple[frozenset[str], bool],
            render.Rendering] = cachetools.LRUCache(maxsize=64)
        self._excluding_lock = threading.Lock()

    def excluding(self, query: str, last: bool = False) -> render.Rendering:
        """Readiness without the checks that ``exclude=`` names.

        :param last: whether a balancer asks that has no other usable server
        """
        try:
            asked = parse.parse_qs(query, max_num_fields=_MAX_EXCLUDED)
        except ValueError:  # no honest caller sends so many
            return self.ready
        if not self.verdicts:
            return self.ready
        excluded = asked.get('exclude', [])
        known = frozenset(self.checks.keys() & set(excluded))
        unknown = [name for name in dict.fromkeys(excluded)
                   if name not in self.checks]
        if not unknown:
            with self._excluding_lock:
                view = self._excluding.get((known, last))
                if view is None:
                    view = self._without(known, last)
                    self._excluding[known, last] = view
            return view
        notes = [f'NO CHECK NAMED {name}' if _NAME.fullmatch(name)
                 else 'NO CHECK OF THAT NAME' for name in unknown]
        return self._without(known, last, notes[:_MAX_NOTES])

    def _without(self, excluded: frozenset[str], last: bool,
                 notes: Sequence[str] = ()) -> render.Rendering:
        return self._view([*(v for v in self.verdicts
                             if v.name not in excluded), *self.out], notes,
                          self._last_node if last else self._held_by_others)

    def _held(self) -> str:
        _, judged = report.judge([*self.verdicts, *self.out])
        if holding.hold(judged, self._last_node) is None:
            return ''
        return '; '.join(one.reason for one in holding.failing(judged))

    def _alone(self, verdict: report.Verdict) -> render.Rendering:
        # A caller of one check wants its own status, critical or not.
        if not verdict.critical:
            verdict = report.Verdict.of(
                verdict.name, verdict.status, verdict.reason,
                stale=verdict.stale, time=verdict.time)
        return self._view([verdict])

    def _view(self, verdicts: Sequence[report.Verdict],
              notes: Sequence[str] = (),
              holds: Mapping[str, str] = _NO_HOLDS) -> render.Rendering:
        status, judged = report.judge(verdicts)
        held = holding.hold(judged, holds)
        if held is not None:
            status, judged = report.judge(held)
        return render.Rendering(judged, status, notes=notes,
                                detailed=self._detailed, time=self._time)


class Board:
    """Keeps the current pages of a process.

    A new report swaps one reference, and a reader takes it. Pages are built
    again only when the report has aged past a boundary or a file switch has
    changed; the first reader that notices builds them.

    :param names: the configured checks, in the order of their lines
    :param reports: what is known at the start
    """

    def __init__(self, names: Sequence[str], file_switches: switches.Switches,
                 reports: Reports, *, detailed: bool = False,
                 last_stays: bool = False,
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time) -> None:
        self._names = tuple(names)
        self._switches = file_switches
        self._detailed = detailed
        self._last_stays = last_stays
        self._clock = clock
        self._wall_clock = wall_clock
        self.reported = threading.Event()
        """Set when every report has been published."""
        self.reports = reports
        # Held only to set a reference: the two reports come from different
        # threads.
        self._lock = threading.Lock()
        self._pages = self._make(file_switches.unthrown)
        # Pages that readers made, by state. They never replace what was
        # published: a slow reader would put an old report back.
        self._remade: dict[switches.State, Pages] = {}
        self._tell()

    def publish(self, shared: report.Report) -> None:
        """Publish the prober's report."""
        self._hang_up(shared=shared)

    def publish_own(self, own: report.Report) -> None:
        """Publish this process's report about itself."""
        self._hang_up(own=own)

    def _hang_up(self, **published: report.Report) -> None:
        with self._lock:
            self.reports = dataclasses.replace(self.reports, **published)
        self._pages = self._make(self._pages.state)
        self._remade = {}
        self._tell()

    def _tell(self) -> None:
        if self.reports.checks is not None:
            self.reported.set()

    def pages(self, state: switches.State) -> Pages:
        """The current pages, for the current state of the files."""
        pages = self._pages
        if (pages.state == state and pages.reports is self.reports
                and self._clock() < pages.expires_at):
            return pages
        remade = self._remade.get(state)
        if (remade is None or remade.reports is not self.reports
                or self._clock() >= remade.expires_at):
            remade = self._make(state)
            self._remade[state] = remade
        return remade

    def without(self, reason: str, state: switches.State) -> Pages:
        """Pages that only say why there is no report."""
        return Pages(self._names, _NOTHING, {}, self._switches.out(state),
                     state=state, reason=reason, detailed=self._detailed,
                     now=self._clock(), time=self._wall_clock())

    def _make(self, state: switches.State) -> Pages:
        return Pages(self._names, self.reports,
                     self._switches.verdicts(state),
                     self._switches.out(state), state=state,
                     detailed=self._detailed, last_stays=self._last_stays,
                     now=self._clock(), time=self._wall_clock())
