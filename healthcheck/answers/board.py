# SPDX-License-Identifier: Apache-2.0

"""Everything that an anonymous caller can be told, made when it changes.

A request picks one of these pages; it never makes one, but for the few
whose question nobody can know beforehand (``exclude``), and those are kept.
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

from healthcheck.answers import render
from healthcheck.answers import switches
from healthcheck.reports import report

# What may be said back to a caller: the shape of a name, and not its length.
_NAME = re.compile(r'[A-Za-z0-9_.-]{1,64}')
_MAX_EXCLUDED = 16
_MAX_NOTES = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Reports:
    """What is known in a process. None is a report that is to come.

    :param shared: what one prober has found for all of them
    :param own: what the process has found of itself
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


class Pages:
    """The pages of what is known, for one state of the file switches.

    :param names: the configured checks, in the order of their lines
    :param switched: the verdicts of the file switches
    :param now: when the reports are judged, in monotonic seconds
    :param reason: what is said while there is no report
    :ivar verdicts: on each check; empty before there is a report
    :ivar expires_at: when age changes one of them
    :ivar unknown: whether nothing is known of any backend
    """

    def __init__(self, names: Sequence[str], reports: Reports,
                 switched: Mapping[str, report.Verdict], *,
                 state: switches.State, detailed: bool,
                 now: float, time: float,
                 reason: str = report.STARTING) -> None:
        self.reports = reports
        self.state = state
        self._detailed = detailed
        self._time = time
        checks = reports.checks
        self.unknown = checks is None or bool(
            reports.shared and reports.shared.stale(now))
        self.expires_at = min((c.stale_at for c in checks or ()
                               if c.stale_at > now), default=math.inf)
        if checks is None:
            self.verdicts: list[report.Verdict] = []
            self.ready = render.Answer([], report.Status.FAIL, notes=[reason],
                                       detailed=detailed, time=time)
            self.checks = dict.fromkeys(names, self.ready)
        else:
            verdicts = dict(switched)
            verdicts.update((c.name, c.verdict(now)) for c in checks)
            self.verdicts = [verdicts[name] for name in names]
            self.ready = self._view(self.verdicts)
            self.checks = {v.name: self._alone(v) for v in self.verdicts}
        # cachetools for the bound: what a caller may ask is without one.
        self._excluding: cachetools.LRUCache[
            frozenset[str], render.Answer] = cachetools.LRUCache(maxsize=64)
        self._excluding_lock = threading.Lock()

    def excluding(self, query: str) -> render.Answer:
        """Readiness without the checks that ``exclude=`` names."""
        try:
            asked = parse.parse_qs(query, max_num_fields=_MAX_EXCLUDED)
        except ValueError:  # too many to be meant
            return self.ready
        if not self.verdicts:
            return self.ready
        excluded = asked.get('exclude', [])
        known = frozenset(self.checks.keys() & set(excluded))
        unknown = [name for name in dict.fromkeys(excluded)
                   if name not in self.checks]
        if not unknown:
            with self._excluding_lock:
                view = self._excluding.get(known)
                if view is None:
                    view = self._excluding[known] = self._without(known)
            return view
        notes = [f'NO CHECK NAMED {name}' if _NAME.fullmatch(name)
                 else 'NO CHECK OF THAT NAME' for name in unknown]
        return self._without(known, notes[:_MAX_NOTES])

    def _without(self, excluded: frozenset[str],
                 notes: Sequence[str] = ()) -> render.Answer:
        return self._view([v for v in self.verdicts
                           if v.name not in excluded], notes)

    def _alone(self, verdict: report.Verdict) -> render.Answer:
        # Who asks for one check wants its own status, critical or not.
        if not verdict.critical:
            verdict = report.Verdict.of(
                verdict.name, verdict.status, verdict.reason,
                stale=verdict.stale, time=verdict.time)
        return self._view([verdict])

    def _view(self, verdicts: Sequence[report.Verdict],
              notes: Sequence[str] = ()) -> render.Answer:
        status, judged = report.judge(verdicts)
        return render.Answer(judged, status, notes=notes,
                             detailed=self._detailed, time=self._time)


class Board:
    """Where the pages of a process hang.

    One reference is swapped when a report comes in. A reader takes it, and
    only when the report has aged past a boundary, or a file switch was
    thrown, are pages made anew by whoever notices first.

    :param names: the configured checks, in the order of their lines
    :param reports: what is known to begin with
    """

    def __init__(self, names: Sequence[str], file_switches: switches.Switches,
                 reports: Reports, *, detailed: bool = False,
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time) -> None:
        self._names = tuple(names)
        self._switches = file_switches
        self._detailed = detailed
        self._clock = clock
        self._wall_clock = wall_clock
        self.reported = threading.Event()
        """Set when every report is out."""
        self.reports = reports
        # For as long as it takes to set a reference: the two reports come
        # from threads that know nothing of each other.
        self._lock = threading.Lock()
        self._pages = self._make(file_switches.unthrown)
        # Pages that readers made, by state. They never replace what was
        # published: a slow reader would put an old report back.
        self._remade: dict[switches.State, Pages] = {}
        self._tell()

    def publish(self, shared: report.Report) -> None:
        """Hang up what the prober has found."""
        self._hang_up(shared=shared)

    def publish_own(self, own: report.Report) -> None:
        """Hang up what this process has found of itself."""
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
        """The pages that hold now, for what the files say now."""
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

    def without(self, reason: str) -> Pages:
        """Pages that say nothing but why there is nothing to be said."""
        return Pages(self._names, _NOTHING, {}, state=(), reason=reason,
                     detailed=self._detailed, now=self._clock(),
                     time=self._wall_clock())

    def _make(self, state: switches.State) -> Pages:
        return Pages(self._names, self.reports,
                     self._switches.verdicts(state),
                     state=state, detailed=self._detailed,
                     now=self._clock(), time=self._wall_clock())
