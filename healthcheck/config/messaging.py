# SPDX-License-Identifier: Apache-2.0

"""The options of the service that oslo.messaging reads."""

from __future__ import annotations

import functools
from typing import Any

from oslo_messaging import opts

from healthcheck.config import views


_options: Any = functools.cache(opts.list_opts)  # it makes copies


def note(view: views.View) -> None:
    """Note all of them: a message depends on them.

    :raises healthcheck.exceptions.ConfigError: if one refers to an option
        that is not set
    """
    for group, options in _options():
        view.note_options(group, options)
