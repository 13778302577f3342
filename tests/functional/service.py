# SPDX-License-Identifier: Apache-2.0

"""A service with the middleware in it, asked in process.

Nothing is simulated but the web server: the middleware, its threads and its
plugins run as they do in a service, against the real servers of the bench.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import logging
import pathlib
import time
import traceback
from typing import Any
from urllib import parse

from oslo_config import cfg

import healthcheck
from healthcheck.answers import render
from healthcheck.probing import policy
from healthcheck.reports import report
from tests.functional import stalls

# On top of what the formula promises, and of the time in which this process
# stood still: a backend's process may have done so as well.
ALLOWANCE = 5.0

# No request waits for a backend. Those that would wait, would wait for a
# second and more; the rest of this is for a busy machine.
SLOWEST = 0.5

# A server that gets no processor for a second or two is neither slow nor down.
QUICK = {'interval': 0.3, 'retry_interval': 0.1, 'timeout': 3.0,
         'slow_threshold': 3.0, 'ttl': 60, 'startup_wait': 0.0}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a caller got, and how long after the service was made."""

    at: float
    seconds: float
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def __str__(self) -> str:
        return f'{self.at:7.2f} s: {self.status} {self.text!r}'


class Service:
    """A trivial app below the middleware.

    :param backends: names of the checks
    :param conf: the service's configuration, which says the same; default:
        names and options are those of a paste section
    :param options: of ``[healthcheck]``, in place of those in QUICK
    """

    def __init__(self, *backends: str, conf: cfg.ConfigOpts | None = None,
                 **options: Any) -> None:
        settings = {**QUICK, **options}
        if conf is None:
            self.app = healthcheck.Healthcheck(self._below, {
                'backends': ','.join(backends), 'sharing': 'process',
                **{key: str(value) for key, value in settings.items()}})
        else:
            self.app = healthcheck.Healthcheck(self._below, conf)
        self.names = backends
        fields = {field.name for field in dataclasses.fields(policy.Policy)}
        self.policy = policy.Policy(**{key: value for key, value
                                       in settings.items() if key in fields})
        self.seconds: list[float] = []
        self.history: list[Answer] = []
        """The answers to ``/healthcheck``, the same ones in a row once."""
        self._began = time.monotonic()
        self._stalls = stalls.of_this_process()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self, timeout: float = 10.0) -> None:
        self.app.stop(timeout)

    @property
    def bound(self) -> float:
        """Within how many seconds a change must be told."""
        return self.policy.detection + ALLOWANCE

    def request(self, path: str = '/healthcheck', method: str = 'GET',
                accept: str = '', query: str = '') -> Answer:
        environ = {'REQUEST_METHOD': method, 'SCRIPT_NAME': '',
                   'PATH_INFO': path, 'QUERY_STRING': query,
                   'SERVER_NAME': 'localhost', 'SERVER_PORT': '8774',
                   'SERVER_PROTOCOL': 'HTTP/1.0', 'HTTP_ACCEPT': accept,
                   'REMOTE_ADDR': '192.0.2.1'}
        told: list[Any] = []

        def start_response(*args: Any) -> Any:
            told.extend(args)

        began = time.monotonic()
        body = b''.join(self.app(environ, start_response))
        seconds = time.monotonic() - began
        if seconds > SLOWEST:
            seconds -= self._stalls.seconds(began)
        self.seconds.append(seconds)
        return Answer(time.monotonic() - self._began, seconds,
                      int(told[0].split()[0]), dict(told[1]), body)

    def ask(self) -> Answer:
        """Ask for readiness as a balancer does; remember what was told."""
        answer = self.request()
        if not self.history or self.history[-1].text != answer.text:
            self.history.append(answer)
        return answer

    def passes(self) -> None:
        """Wait until everything is well."""
        self.wait_for(200, '\n'.join(
            [report.OK] * len(self.names)))

    def warns(self, reason: str) -> None:
        """Wait for a warning, which leaves the node in."""
        self.wait_for(200, f'{report.OK} ({reason})')

    def fails(self, reason: str) -> None:
        """Wait until the node is out, and see that it tells why.

        The first time that it says so, it must give the right reason: it
        is what an administrator finds in the log.
        """
        answer = self.wait_for(503)
        assert answer.text == reason, self._told(f'503 {reason!r}')

    def wait_for(self, status: int, text: str | None = None,
                 within: float | None = None) -> Answer:
        """Ask, as balancers do, until the answer is the one.

        :param within: seconds; default: what the formula promises
        """
        within = self.bound if within is None else within
        began = time.monotonic()
        while True:
            answer = self.ask()
            if answer.status == status and text in (None, answer.text) and (
                    answer.text != report.STARTING):
                return answer
            late = time.monotonic() - began - within
            if late > 0 and late > self._stalls.seconds(began):
                raise AssertionError(self._told(
                    f'{status} {text or ""!r} within {within:.1f} s'))
            time.sleep(0.01)

    def stays(self, text: str, seconds: float) -> None:
        """See that the answer stays ``text`` for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.ask().text == text, self._told(repr(text))
            time.sleep(0.01)

    def answers_at_once(self) -> None:
        """See that not one request so far has waited for a backend."""
        seconds = sorted(self.seconds)
        assert seconds[-1] < SLOWEST, f'slowest: {seconds[-1]:.3f} s'
        middle = seconds[len(seconds) // 2]
        assert middle < 0.01, f'half of them: {middle:.4f} s and more'

    def everything(self) -> Iterator[Answer]:
        """Ask for all that an anonymous caller can get."""
        for path in ('', '/', '/live', '/ready', '/nothing', '/detail',
                     *(f'/{name}' for name in self.names)):
            for method in ('GET', 'HEAD', 'OPTIONS', 'POST'):
                for accept in render.FORMATS:
                    yield self.request(f'/healthcheck{path}', method, accept)
        for name in (*self.names, 'nothing'):
            for accept in render.FORMATS:
                yield self.request('/healthcheck/ready', accept=accept,
                                   query=f'exclude={name}')

    def _told(self, wanted: str) -> str:
        lines = [f'wanted: {wanted}', 'told:', *map(str, self.history)]
        return '\n'.join(lines)

    @staticmethod
    def _below(environ: Mapping[str, Any],
               start_response: Any) -> Iterable[bytes]:
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'the service']


def configured(path: pathlib.Path, sections: Mapping[str, Mapping[str, Any]],
               backends: Sequence[str], **options: Any) -> cfg.ConfigOpts:
    """A service's configuration, private to it, read from a file.

    :param path: the file to write
    :param sections: options by section, all but ``[healthcheck]``
    :param backends: names of the checks
    :param options: of ``[healthcheck]``, in place of those in QUICK
    """
    lines = []
    own = {**QUICK, 'backends': ','.join(backends), **options}
    if 'state_path' not in own:
        # By default all that have the same configuration share a prober, and
        # so would one test with the next.
        own.setdefault('sharing', 'process')
    for section, values in {**sections, 'healthcheck': own}.items():
        lines.append(f'[{section}]')
        # oslo.config replaces $name, and $$ is a dollar.
        lines += [f'{key} = {str(value).replace("$", "$$")}'
                  for key, value in values.items()]
    path.write_text('\n'.join(lines) + '\n')
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(path)], project='bench')
    return conf


class Log(logging.Handler):
    """Everything that anybody logs, at any level, with all that is in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, str]] = []
        """(logger, all of a record that any formatter could print)"""

    def emit(self, record: logging.LogRecord) -> None:
        parts = [record.getMessage(), str(record.msg), repr(record.args)]
        if record.exc_info:
            parts += traceback.format_exception(*record.exc_info)
        if record.exc_text:
            parts.append(record.exc_text)
        self.lines.append((record.name, '\n'.join(parts)))

    @classmethod
    @contextlib.contextmanager
    def of_everybody(cls) -> Iterator[Log]:
        root, handler = logging.getLogger(), cls()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield handler
        finally:
            root.setLevel(level)
            root.removeHandler(handler)


def spellings(secret: str) -> set[str]:
    """Every way in which a secret, or a piece of it, may be written.

    The pieces are what is left when it is cut at its special characters, as
    somebody does who takes an URL apart with too little care.
    """
    pieces = ''.join(c if c.isalnum() else ' ' for c in secret).split()
    return {secret, parse.quote(secret), parse.quote(secret, safe=''),
            parse.quote_plus(secret), repr(secret)[1:-1], *pieces}
