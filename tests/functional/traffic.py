# SPDX-License-Identifier: Apache-2.0

"""A service that uses its backends, and the callers who keep it busy.

Its requests are those of an API: most read, some write, and a token of its
own stands in for Keystone's, unless it is given a Keystone.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import itertools
import os
import pathlib
import threading
import time
from typing import Any, Protocol

from oslo_config import cfg
import oslo_messaging
import sqlalchemy

import healthcheck
from healthcheck.evidence import engines
from healthcheck.evidence import observing
from healthcheck.host import mounts
from healthcheck.reports import report
from tests.functional import callers as callers_module
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import client
from tests.functional import service as service_module
from tests.functional import stalls

TOKEN = 'good'
READ_TIMEOUT = 3
"""Seconds after which the service gives up on its database."""

RATE = 50
"""Requests a second of a busy service."""

BUSY = (('GET', '/things'),) * 4 + (('POST', '/things'),)
"""What its callers want."""

_PROBE = 'SHOW GLOBAL VARIABLES%'
"""What the prober says on each visit, and nobody else."""

_THINGS = sqlalchemy.Table(
    'things', sqlalchemy.MetaData(),
    sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column('name', sqlalchemy.String(36)))


@functools.cache  # a worker is forked before its first request
def _url() -> sqlalchemy.URL:
    with contextlib.suppress(cfg.DuplicateOptError):
        cfg.CONF.register_opts([cfg.StrOpt('connection')], 'database')
    return sqlalchemy.make_url(cfg.CONF.database.connection)


@functools.cache
def _engine() -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(_url(), connect_args={
        'read_timeout': READ_TIMEOUT, 'connect_timeout': READ_TIMEOUT})


@functools.cache
def _stranger() -> sqlalchemy.Engine:
    """One whose password is wrong: it never connects."""
    return sqlalchemy.create_engine(_url().set(password='wrong'))


@functools.cache
def _client() -> Any:
    return oslo_messaging.get_rpc_client(
        oslo_messaging.get_rpc_transport(cfg.CONF),
        oslo_messaging.Target(topic='traffic')).prepare(retry=0)


def _read() -> str:
    with _engine().connect() as connection:
        return str(connection.execute(
            sqlalchemy.select(_THINGS).order_by(_THINGS.c.id.desc()).limit(
                10)).all())


def _write() -> str:
    with _engine().begin() as connection:
        connection.execute(_THINGS.insert().values(name='thing'))
    return 'written'


def _break_in() -> str:
    with _stranger().connect():
        return 'in'


@healthcheck.observe('message_queue')
def _notify() -> str:
    _client().cast({}, 'happened')
    return 'sent'


def _listeners() -> str:
    """How many there are in this process."""
    return str(len(engines._listening) + len(observing._listening))


def _fail() -> str:
    raise ZeroDivisionError


_ROUTES: dict[tuple[str, str], Callable[[], str]] = {
    ('GET', '/things'): _read, ('POST', '/things'): _write,
    ('GET', '/stranger'): _break_in, ('POST', '/events'): _notify,
    ('GET', '/fault'): _fail, ('GET', '/listeners'): _listeners}


def api(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The service; what stands in for auth_token is below our filter."""
    if environ.get('HTTP_X_AUTH_TOKEN') == TOKEN:
        environ['keystone.token_info'] = {}
    elif environ['PATH_INFO'] == '/things' and (
            'keystone.token_info' not in environ):
        return _answer(start_response, '401 Unauthorized', '')
    route = _ROUTES.get((environ['REQUEST_METHOD'], environ['PATH_INFO']))
    if route is None:
        return _answer(start_response, '404 Not Found', '')
    try:
        return _answer(start_response, '200 OK', route())
    except Exception as exc:
        if 'raise' in environ.get('QUERY_STRING', ''):
            raise
        return _answer(start_response, '500 Internal Server Error',
                       type(exc).__name__)


@functools.cache
def _auth_token() -> Any:
    from keystonemiddleware import auth_token
    return auth_token.AuthProtocol(api, {'oslo_config_config': cfg.CONF})


def checked_api(environ: dict[str, Any],
                start_response: Any) -> Iterable[bytes]:
    """The same below the real auth_token, made when CONF has been read."""
    answer: Iterable[bytes] = _auth_token()(environ, start_response)
    return answer


def _answer(start_response: Any, status: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(status, [('Content-Type', 'text/plain'),
                            ('Content-Length', str(len(body)))])
    return [body]


def files(url: str, transport_url: str = '',
          authtoken: Mapping[str, Any] | None = None,
          **options: Any) -> dict[str, str]:
    """What is in the directory of its server.

    :param url: of its database
    :param transport_url: of its message queue, if it has one
    :param authtoken: the options of auth_token, which lets requests in
    :param options: of ``[healthcheck]``; the rest are the defaults
    """
    defaults = {'interval': 10, 'retry_interval': 2, 'timeout': 5,
                'slow_threshold': 5, 'ttl': 30, 'fall': 2,
                'backends': 'database', 'disable_by_file_path': ''}
    settings: dict[str, Any] = {
        key: str(value).replace('$', '$$')
        for key, value in {**defaults, **options}.items()}
    found = served.files(sharing='host', database=url, **settings)
    own = ''.join([
        f'[DEFAULT]\ntransport_url = {transport_url}\n'
        '[keystone_authtoken]\n',
        *(f'{key} = {value}\n' for key, value in (authtoken or {}).items())])
    name = 'checked_api as api' if authtoken else 'api'
    return {**found,
            'service.conf': own.replace('$', '$$') + found['service.conf'],
            'myservice.py': f'from tests.functional.traffic import {name}\n'}


def mappable(path: pathlib.Path) -> pathlib.Path:
    """A directory in which evidence is shared; ``path`` if it can be."""
    if mounts.is_in_memory(str(path)):
        return path
    memory = pathlib.Path('/dev/shm') / f'{path.name}-{os.getpid()}'
    memory.mkdir(mode=0o700)
    return memory


def create_table(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    try:
        _THINGS.metadata.create_all(engine)
    finally:
        engine.dispose()


@contextlib.contextmanager
def logged(mariadb: servers.MariaDB) -> Iterator[None]:
    """The server writes down each statement."""
    mariadb.sql("SET GLOBAL log_output = 'TABLE'")
    mariadb.sql('TRUNCATE mysql.general_log')
    mariadb.sql('SET GLOBAL general_log = ON')
    try:
        yield
    finally:
        mariadb.sql('SET GLOBAL general_log = OFF')


def probes(mariadb: servers.MariaDB) -> int:
    """How many there were since the server began to write them down."""
    return int(mariadb.sql(
        'SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE %s',
        _PROBE)[0][0])


def statements(mariadb: servers.MariaDB, user: str = '') -> int:
    """The same, of all that the prober says on its connections.

    :param user: whose they are; default: anybody's
    """
    return int(mariadb.sql(
        'SELECT COUNT(*) FROM mysql.general_log WHERE thread_id IN '
        '(SELECT thread_id FROM mysql.general_log '
        'WHERE argument LIKE %s AND user_host LIKE %s)',
        _PROBE, f'{user}%')[0][0])


class Watcher(service_module.Service):
    """A process that shares the prober of a server, and is polled.

    The server itself is never polled: it may be too busy to answer.

    :param path: the configuration of that server
    :param backends: what it looks at
    """

    def __init__(self, path: pathlib.Path, *backends: str) -> None:
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(path)], project='service')
        super().__init__(*backends, conf=conf)

    def __enter__(self) -> Watcher:
        return self

    def known(self) -> report.Report:
        running = self.app._engine.peek()
        assert running is not None
        known = running.known()
        assert known is not None
        return known

    def check(self, name: str = 'database') -> report.CheckReport:
        return next(one for one in self.known().checks if one.name == name)

    @property
    def stand_ins(self) -> int:
        """How often traffic has stood in for a probe of the database."""
        history = self.check().history
        assert history is not None
        return history.stand_ins

    def prober(self) -> int:
        """The process that probes now."""
        prober = self.known().prober
        assert prober is not None
        return prober.pid

    def seconds_to(self, status: int, since: float) -> float:
        """How long it takes, without what this process stood still."""
        servers.wait_until(lambda: self.ask().status == status, str(status))
        took = time.monotonic() - since
        return took - stalls.of_this_process().seconds(since)


class Asked(Protocol):
    """What is served somewhere."""

    def ask(self, path: str, method: str, **headers: Any) -> client.Answer:
        """:raises OSError: if there is no answer"""


class Load(callers_module.Callers):
    """Callers that send requests at a pace, until the block ends.

    :param wanted: (method, path) of each, again and again
    :param rate: requests a second, of all callers
    :ivar told: how often there was which status; 0 for no answer
    """

    def __init__(self, server: Asked,
                 wanted: Sequence[tuple[str, str]] = BUSY, *,
                 rate: float = RATE, token: str = TOKEN,
                 callers: int = 8) -> None:
        self._server = server
        self._wanted = wanted
        self._token = token
        self._pause = callers / rate
        super().__init__(*(functools.partial(self._call, number)
                           for number in range(callers)))
        self._lock = threading.Lock()
        self.told: collections.Counter[int] = collections.Counter()
        self._callers = callers

    def come_to(self, number: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.told.total() + number
        servers.wait_until(lambda: self.told.total() >= wanted,
                           f'{number} answers: {self.told}', 60)

    def _call(self, number: int) -> None:
        headers = {'X_Auth_Token': self._token} if self._token else {}
        at = time.monotonic() + number * self._pause / self._callers
        for method, path in itertools.cycle(
                [*self._wanted[number % len(self._wanted):],
                 *self._wanted[:number % len(self._wanted)]]):
            if self._over.wait(max(0.0, at - time.monotonic())):
                return
            at = max(at + self._pause, time.monotonic() - 1.0)
            path, _, query = path.partition('?')
            try:
                status = self._server.ask(
                    f'{path}?{query}' if query else path, method,
                    **headers).status
            except OSError:
                status = 0
            with self._lock:
                self.told[status] += 1
