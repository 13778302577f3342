# SPDX-License-Identifier: Apache-2.0

"""Plugins that others wrote for oslo.middleware's ``Healthcheck``."""

from __future__ import annotations

from collections.abc import Sequence
import re
from typing import Any

from healthcheck.config import redact
from healthcheck.probing import guard
from healthcheck.probing import target as target_module
from healthcheck.reports import lines
from healthcheck.reports import report
from healthcheck.targets import failures

# What passes for a fixed reason: a few words in capitals, as oslo.middleware
# writes its own. Anything else may hold a host name or an exception's text
# and is for the log.
_FIXED = re.compile(r'[A-Z][A-Z0-9_ -]{0,39}')

# Characters of a reason and of details that are looked at. Fewer are shown,
# and to take secrets out of a long text takes long.
_MOST = 10_000


class ForeignTarget(target_module.Target):
    """Runs a plugin of others in the background, like one of ours.

    :param server_port: what the plugin gets; there is no request to take
        it from, so it is the port of the first one of the process
    """

    def __init__(self, name: str, plugin: Any, server_port: int) -> None:
        self.name = name
        self._plugin = plugin
        self._server_port = server_port
        self._redact = redact.Redactor()

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        return target_module.Findings(self._ask())

    def _ask(self) -> report.Result:
        result = self._plugin.healthcheck(self._server_port)
        reason = getattr(result, 'reason', None)
        if not hasattr(result, 'available') or not isinstance(reason, str):
            return report.Result.failed(
                guard.PROBE_ERROR, f'{self.name} returned '
                f'{type(result).__name__}, not a HealthcheckResult')
        if result.available:
            return report.Result.ok()
        reason = reason[:_MOST]
        details = lines.text_of(result.details or '')[:_MOST]
        return report.Result.failed(
            reason if _FIXED.fullmatch(reason) else failures.FAILED,
            self._redact(f'{reason} {details}'.strip()))
