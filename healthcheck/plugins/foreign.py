# SPDX-License-Identifier: Apache-2.0

"""Third-party plugins for oslo.middleware's own ``Healthcheck``."""

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

# A fixed reason is a few words in capitals, like oslo.middleware's own. Any
# other text may hold a host name or an exception's text, so it is for the log
# only.
_FIXED = re.compile(r'[A-Z][A-Z0-9_ -]{0,39}')

# Maximum number of characters of a reason and of details that are used. Fewer
# are shown, and to redact a long text is slow.
_MOST = 10_000


class ForeignTarget(target_module.Target):
    """Runs a third-party plugin in the background, like one of ours.

    :param server_port: passed to the plugin. A probe has no request, so this
        is the port of the process's first request.
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
