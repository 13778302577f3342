# SPDX-License-Identifier: Apache-2.0

"""One process's part in probing for its host.

If it is elected, it is the prober. If another process is, it follows that one.
If nothing can be shared, it probes for itself. In each case it uses the same
scheduler, so a probe that hangs is the only one of its kind in the process.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import math
import time as time_module

from oslo_log import log as logging

from healthcheck.host import group as group_module
from healthcheck.host import protocols
from healthcheck.host import sharing
from healthcheck.probing import policy as policy_module
from healthcheck.probing import prober
from healthcheck.reports import fleet as fleet_module
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

_TICK = 0.5
"""The longest time between two looks at the other processes, in seconds."""

_AGAIN = 0.01
"""Seconds in which all requests look only once, so a flood costs no more."""

_FIRST_TICK = 0.05
"""The same until there is a first report."""


def lease(policy: policy_module.Policy) -> float:
    """Seconds without a sign of life after which a prober is deposed.

    This is for a stopped prober; a killed one is replaced at once. A busy
    machine must not look like a stopped prober.
    """
    return max(1.0, 2 * policy.retry_interval)


class HostProber(prober.Prober):
    """Probes for the host, or follows the process that does.

    :param group: the processes that share
    :param policy: of the checks
    :param show: called with each report that is new in this process, from
        several threads
    :param clock: monotonic nanoseconds, the same for all of a host
    :param evidence: what traffic sees in this process; None if that is not
        to be shared
    :param fleet: what this host tells other hosts, and knows of them; None
        if it is in no fleet
    """

    def __init__(self, group: group_module.Group, policy: policy_module.Policy,
                 make_scheduler: prober.MakeScheduler,
                 show: Callable[[report.Report], None],
                 clock: Callable[[], int] = time_module.monotonic_ns,
                 evidence: protocols.SharedEvidence | None = None,
                 fleet: protocols.SharedFleet | None = None) -> None:
        super().__init__(make_scheduler, show, lambda: clock() / 1e9)
        self._sharing = sharing.Sharing(group, clock)
        self._place = self._sharing.directory.path
        self._policy = policy
        self._tick = min(_TICK, policy.retry_interval / 2)
        self._leading = self._probing = False
        self._trouble: sharing.Unusable | None = None
        self._said = ''
        self._looked_at = self._beat_at = -math.inf
        # By then a live prober has its first report.
        self._patient_until = self._clock() + policy.detection
        self._told: report.Report | None = None
        self._evidence = evidence
        self._fleet = fleet

    def run(self) -> None:
        while not self._stopping.is_set():
            self.alive_at = self._clock()
            self._share_evidence()
            try:
                if self._sharing.elect():
                    self._lead()
                else:
                    self._follow()
            except sharing.Unusable as exc:
                self._probe_alone(exc)
        if self._evidence is not None:
            self._evidence.detach()
        if self._fleet is not None:
            self._fleet.stop()
        self._sharing.resign()
        self._scheduler.close()

    def look(self) -> None:
        """Show the prober's last report, if it is new.

        Called with each request. It costs a system call at most.
        """
        now = self._clock()
        if now - self._looked_at < _AGAIN:
            return
        self._looked_at = now
        try:
            if self._told is not None and self._told.stale(now):
                # Where threads do not run, only this notices that the
                # directory was moved away and another one made.
                self._sharing.directory.follow()
            self._look()
        except sharing.Unusable:
            pass  # the thread sees it, too, and handles it

    @property
    def shared(self) -> bool:
        return self._leading or not self._probing

    def known(self) -> report.Report | None:
        # For the prober, too: no process is ahead of the published report, so
        # a caller of several processes sees no counter go back.
        if self.shared:
            try:
                return self._sharing.last()
            except sharing.Unusable:
                pass
        return self._found

    def fleet(self) -> fleet_module.FleetView | None:
        """What the prober knows of other hosts; None if nothing yet."""
        try:
            return self._sharing.fleet()
        except sharing.Unusable:
            return None

    def refresh(self) -> None:
        if not self._probing:
            try:
                self._sharing.ask()
                return
            except sharing.Unusable:
                pass
        self._scheduler.refresh()

    def _lead(self) -> None:
        """Probe for all until another process has taken over."""
        self._say(f'this process probes for all that share {self._place}')
        last = self._restore()
        self._probing = self._leading = True
        self._trouble = None
        if self._fleet is not None:
            self._fleet.lead(last.holds if last is not None else ())
        try:
            self._scheduler.run(self._goes_on_leading, self._tick)
        finally:
            self._leading = False
            if self._fleet is not None:
                self._fleet.rest()
            if self._evidence is not None:
                self._evidence.forget()
            self._sharing.resign()
        if self._trouble is not None:
            raise self._trouble

    def _share_evidence(self) -> None:
        if self._evidence is not None:
            self._evidence.attach()

    def _goes_on_leading(self) -> bool:
        now = self.alive_at = self._clock()
        if self._stopping.is_set() or self._trouble is not None:
            return False
        try:
            # The scheduler looks at traffic more often than that.
            if not self._beat_at <= now < self._beat_at + self._tick / 2:
                if not self._sharing.beat():
                    return False
                self._beat_at = now
                self._share_evidence()
            if self._sharing.asked():
                self._scheduler.refresh()
            if self._fleet is not None:
                self._follow_fleet(self._fleet, now)
        except sharing.Unusable as exc:
            self._trouble = exc
        return self._trouble is None

    def _follow_fleet(self, fleet: protocols.SharedFleet, now: float) -> None:
        for name in fleet.others_differ():
            self._scheduler.suspects.others_differ(name, now)
        if self._found is not None and self._found.holds != fleet.holds:
            self._publish(self._found)
        view = fleet.view()
        if view is not None:
            self._sharing.publish_fleet(view)

    def _follow(self) -> None:
        """Answer from the prober's report."""
        self._look()
        if self._probing:
            if self._told is None or self._told.stale(self._clock()):
                raise sharing.Unusable('the process that probes has no '
                                       'report yet')
            self._probing = False
            self._show(self._told)
        elif self._told is None and self._clock() > self._patient_until:
            raise sharing.Unusable('the process that probes has no report '
                                   'that can be used')
        self._scheduler.rest()
        # Normal for every worker but one at its start: nothing to log.
        self._say(f'another process probes for all that share '
                  f'{self._place}', LOG.info if self._said else LOG.debug)
        self._stopping.wait(self._tick if self._told else _FIRST_TICK)

    def _probe_alone(self, why: sharing.Unusable) -> None:
        """Probe for this process only, and try again after a while."""
        self._say(f'this process probes for itself, because it cannot share: '
                  f'{why}', LOG.warning)
        if not self._probing:
            self._restore()
        self._probing = True
        until = self._clock() + self._policy.interval

        def go_on() -> bool:
            self.alive_at = self._clock()
            return not self._stopping.is_set() and self.alive_at < until
        self._scheduler.run(go_on, self._tick)

    def _restore(self) -> report.Report | None:
        """Continue from the last report, this process's own or another's.

        :return: the one that was published last
        """
        try:
            last = self._sharing.last()
        except sharing.Unusable:
            last = None
        if last is not None and (self._found is None
                                 or _age(last) > _age(self._found)):
            self._scheduler.restore(last)
        return last

    def _publish(self, found: report.Report) -> None:
        if self._leading:
            if self._fleet is not None:
                self._fleet.took(found)
                found = dataclasses.replace(found, holds=self._fleet.holds)
            # A prober that was stopped must first find out whether it has been
            # deposed. Its report is old, and must not replace a newer one that
            # its requests have seen. Writing takes long enough to be stopped
            # half-way.
            try:
                if not self._sharing.beat():
                    return
                self._publish_to_all(found)
                if not self._sharing.beat():
                    return
                self._told = found
            except sharing.Unusable as exc:
                self._trouble = exc
        super()._publish(found)

    def _publish_to_all(self, found: report.Report) -> None:
        """:raises sharing.Unusable: if this process itself is the cause"""
        try:
            self._sharing.publish(found)
        except sharing.Unusable:
            # A process that deposed this one removed its file.
            if self._sharing.beat():
                raise

    def _look(self) -> None:
        found = self._sharing.look()
        # One left behind by earlier processes is no report yet.
        if found is not None and (self._told is not None
                                  or not found.stale(self._clock())):
            self._told = found
            # A report that arrives while this process leads is from a prober
            # that has deposed it; its thread is about to find out.
            if self._leading or not self._probing:
                self._show(found)

    def _say(self, what: str, log: Callable[..., None] = LOG.info) -> None:
        if what != self._said:
            self._said = what
            log('Healthcheck: %s', what)


def _age(of: report.Report) -> float:
    """When the youngest result came."""
    return max(c.judged_at for c in of.checks)
