# SPDX-License-Identifier: Apache-2.0

"""The health endpoint of an OpenStack service."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from healthcheck.evidence.observing import observe
    from healthcheck.middleware import Healthcheck

__all__ = ['Healthcheck', 'observe']


def __getattr__(name: str) -> Any:
    # Imported when they are used: "healthcheck status" runs every few seconds
    # and has no use for a service's libraries.
    if name == 'Healthcheck':
        from healthcheck import middleware
        return middleware.Healthcheck
    if name == 'observe':
        from healthcheck.evidence import observing
        return observing.observe
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
