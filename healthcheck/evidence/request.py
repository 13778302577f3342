# SPDX-License-Identifier: Apache-2.0

"""The request that is being served, and whether its failures count."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import wsgi

CURRENT: contextvars.ContextVar[wsgi.WSGIEnvironment | None] = (
    contextvars.ContextVar('healthcheck_request', default=None))
"""The environment of the request that this thread serves, if our filter has
passed it on; else None, for example in the service's own threads."""


def vouched_for(environ: wsgi.WSGIEnvironment) -> bool:
    """Whether auth_token has validated the token of this request.

    A client can set no variable whose name does not begin with ``HTTP_``.
    """
    return 'keystone.token_info' in environ


def counts() -> bool:
    """Whether a failure now may set off a visit.

    Failures of anonymous requests set off nothing.
    """
    environ = CURRENT.get()
    return environ is None or vouched_for(environ)
