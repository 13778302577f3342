# SPDX-License-Identifier: Apache-2.0

"""Evidence from the service's own answers, which only set off visits."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any, TYPE_CHECKING

from healthcheck.evidence import request
from healthcheck.host import processes

if TYPE_CHECKING:
    from _typeshed import wsgi

_NOT_IMPLEMENTED = '501'


class Responses:
    """Passes requests on, and counts those that end in a fault.

    Only requests whose token auth_token has validated count; auth_token may
    run above or below this. Faults while a body is being sent are not seen.

    :param application: the application below
    :param begin: called with the first request of each process
    :param note: called for each fault
    """

    def __init__(self, application: wsgi.WSGIApplication,
                 begin: Callable[[wsgi.WSGIEnvironment], None],
                 note: Callable[[], None]) -> None:
        self._application = application
        self._begin = begin
        self._note = note
        self._begun = processes.wiped_in_children()

    @request.serves
    def __call__(self, environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
        # As few steps as can be: when a request comes, they are not in the
        # processor's caches.
        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if status >= '5' and self._is_fault(status, environ):
                self._note()
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)
        if not self._begun[0]:
            self._begun[0] = 1
            self._begin(environ)
        try:
            return self._application(environ, start)
        except Exception:
            if request.vouched_for(environ):
                self._note()
            raise

    @staticmethod
    def _is_fault(status: str, environ: wsgi.WSGIEnvironment) -> bool:
        return (status[:1] == '5' and status[:3] != _NOT_IMPLEMENTED
                and request.vouched_for(environ))
