# SPDX-License-Identifier: Apache-2.0

"""All that the author of a plugin or a listener needs.

These names stay; where they are defined may change. ``Rehearsal`` and
``Clock`` are for the author's tests.
"""

from __future__ import annotations

from healthcheck.config.redact import Redactor
from healthcheck.config.views import View
from healthcheck.exceptions import ConfigError
from healthcheck.listeners.audience import Listener
from healthcheck.plugins.base import ProbePlugin
from healthcheck.plugins.rehearsal import Clock
from healthcheck.plugins.rehearsal import Rehearsal
from healthcheck.reports.changes import StateChange
from healthcheck.reports.report import Component
from healthcheck.reports.report import Result
from healthcheck.reports.status import Status

__all__ = ['Clock', 'Component', 'ConfigError', 'Listener', 'ProbePlugin',
           'Redactor', 'Rehearsal', 'Result', 'StateChange', 'Status', 'View']
