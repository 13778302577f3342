# SPDX-License-Identifier: Apache-2.0

"""Plugins that tests install by entry point."""

from __future__ import annotations

import os
import threading

from oslo_config import cfg
from oslo_middleware.healthcheck import pluginbase

from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.probing import check
from healthcheck.probing import target
from healthcheck.reports import report


class Scripted(base.ProbePlugin):
    """Answers what the test says; ``results`` is reset by its users."""

    name = 'scripted'
    results: list[report.Result] = []
    runs = 0
    pids: set[int] = set()

    def probe(self) -> report.Result:
        cls = type(self)
        cls.runs += 1
        cls.pids.add(os.getpid())
        return cls.results[-1] if cls.results else report.Result.ok()


class Elsewhere(target.Target):
    """On another host, as its users say how it is."""

    name = 'elsewhere'
    hosts = frozenset(('db.example.org',))

    def probe(self, questions=()):
        return target.Findings(Remote.result)


class Remote(base.ProbePlugin):
    """Looks at what other nodes look at, too."""

    name = 'remote'
    result = report.Result.ok()

    def check(self, name, common):
        return check.Single(name, Elsewhere(), self.policy, label=self.label)


class Hanging(base.ProbePlugin):
    """Hangs until it is released."""

    name = 'hanging'
    release = threading.Event()

    def probe(self) -> report.Result:
        self.release.wait(60)
        return report.Result.ok()


class Hostile(base.ProbePlugin):
    """Does what the test says; ``act`` is set by its users."""

    name = 'hostile'

    @staticmethod
    def act() -> report.Result:
        raise AssertionError

    def probe(self) -> report.Result:
        return type(self).act()


class Exits(base.ProbePlugin):
    """Ends the process rather than be loaded."""

    name = 'exits'

    def set_up(self):
        raise SystemExit('no thanks')

    def probe(self) -> report.Result:
        raise AssertionError


class Nameless(base.ProbePlugin):
    """Raises when it is asked what to call it."""

    @property
    def name(self):
        raise RuntimeError

    @property
    def label(self):
        raise RuntimeError

    @property
    def per_worker(self):
        raise RuntimeError

    def probe(self) -> report.Result:
        raise AssertionError


class Misnamed(base.ProbePlugin):
    """Has another name than its entry point."""

    name = 'something_else'

    def probe(self) -> report.Result:
        return report.Result.ok()


class Misconfigured(base.ProbePlugin):
    name = 'misconfigured'

    def set_up(self):
        raise exceptions.ConfigError(['first wrong', 'second wrong'])

    def probe(self) -> report.Result:
        raise AssertionError


class Foreign(pluginbase.HealthcheckBaseExtension):
    """As a deployer writes one for oslo.middleware."""

    answer = pluginbase.HealthcheckResult(available=True, reason='OK')
    ports: list[int] = []
    seen: list[str] = []

    def __init__(self, oslo_conf, conf):
        super().__init__(oslo_conf, conf)
        self.oslo_conf.register_opts(
            [cfg.StrOpt('foreign_greeting', default='hello')],
            group='healthcheck')

    def healthcheck(self, server_port):
        self.ports.append(server_port)
        self.seen.append(self._conf_get('foreign_greeting'))
        return self.answer


class Fickle(pluginbase.HealthcheckBaseExtension):
    """Can be made once, and then no more."""

    made = 0

    def __init__(self, oslo_conf, conf):
        super().__init__(oslo_conf, conf)
        Fickle.made += 1
        if Fickle.made > 1:
            raise RuntimeError('no more')

    def healthcheck(self, server_port):
        raise AssertionError


class Broken(pluginbase.HealthcheckBaseExtension):
    def __init__(self, oslo_conf, conf):
        raise RuntimeError('no way: rabbit://me:secret@host/')

    def healthcheck(self, server_port):
        raise AssertionError
