# SPDX-License-Identifier: Apache-2.0

"""The settings of a test: defaults, and what it is about."""

from __future__ import annotations

from typing import Any

from healthcheck.config import opts
from healthcheck.config import settings


def make(**changes: Any) -> settings.Settings:
    return settings.Settings(**{
        **{opt.dest: opt.default for opt in opts.all_opts()}, **changes})
