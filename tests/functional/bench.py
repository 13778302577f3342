# SPDX-License-Identifier: Apache-2.0

"""What is put around, and below, the services that the tests serve.

``service.py`` in the directory of a server is an example of the documentation
followed by ``application = bench.Bench(application)``.
"""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

HOLD = 0.05
"""Seconds for which a worker can be kept busy."""

COMPUTING = 2.0
"""Seconds for which a thread keeps the interpreter to itself."""


def api(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """A service that tells what reached it."""
    told = {key: environ.get(key) for key in (
        'REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING',
        'HTTP_X_ANYTHING')}
    length = int(environ.get('CONTENT_LENGTH') or 0)
    told['body'] = environ['wsgi.input'].read(length).decode()
    body = json.dumps(told).encode()
    start_response('200 OK', [('Content-Type', 'application/json'),
                              ('Content-Length', str(len(body)))])
    return [body]


def _compute() -> None:
    until = time.monotonic() + COMPUTING
    while time.monotonic() < until:
        pass


def _hold() -> str:
    time.sleep(HOLD)
    return 'held'


def _signals() -> str:
    """Of each thread of ours, whether it may take what ends the server."""
    found = {}
    for thread in threading.enumerate():
        # A greenlet runs in a thread of the server.
        if thread.name.startswith('healthcheck') and (
                thread.native_id not in (None, os.getpid())):
            path = f'/proc/self/task/{thread.native_id}/status'
            with contextlib.suppress(OSError), open(path) as status:
                blocked, = (int(line.split()[1], 16) for line in status
                            if line.startswith('SigBlk:'))
                found[thread.name] = any(
                    not blocked >> number - 1 & 1 for number in (
                        signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    return json.dumps(found)


class Bench:
    """Names the process in each answer, and does more when asked.

    :param polled: whether the health has been asked for before any server
        forks, as a warm-up would do, and at the worst moment for a fork
    """

    def __init__(self, application: Any, polled: bool = False) -> None:
        self._application = application
        if polled:
            status, text = self._poll()
            assert (status, text) == ('200 OK', 'OK\nOK'), (status, text)
            # A fork never finds the threads of the parent at rest.
            threading.Thread(target=_compute, daemon=True).start()

    def __call__(self, environ: dict[str, Any],
                 start_response: Any) -> Iterable[bytes]:
        def with_pid(status: str, headers: Iterable[tuple[str, str]],
                     *exc_info: Any) -> Any:
            return start_response(
                status, [*headers, ('X-Pid', str(os.getpid()))], *exc_info)

        extra = {'/bench/ready': lambda: 'ready',
                 '/bench/hold': _hold,
                 '/bench/signals': _signals,
                 '/bench/fork': self._fork}.get(environ['PATH_INFO'])
        if extra is None:
            answer: Iterable[bytes] = self._application(environ, with_pid)
            return answer
        body = extra().encode()
        with_pid('200 OK', [('Content-Type', 'text/plain'),
                            ('Content-Length', str(len(body)))])
        return [body]

    def _fork(self) -> str:
        """What a child says of the health."""
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reader)
                os.write(writer, repr(self._poll()).encode())
            except BaseException:
                os.write(writer, traceback.format_exc().encode())
            finally:
                os._exit(0)
        # Nobody waits for the child: gevent's waitpid may do so for ever, and
        # a zombie lasts no longer than the worker.
        os.close(writer)
        with open(reader) as pipe:
            return pipe.read()

    def _poll(self) -> tuple[str, str]:
        """Ask the application for its health, in this process."""
        environ = {
            'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '',
            'PATH_INFO': '/healthcheck', 'QUERY_STRING': '',
            'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.0', 'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(),
            'wsgi.errors': sys.stderr, 'wsgi.multithread': True,
            'wsgi.multiprocess': True, 'wsgi.run_once': False}
        told: list[Any] = []
        body = b''.join(self._application(
            environ, lambda *args: told.extend(args)))
        return told[0], body.decode()
