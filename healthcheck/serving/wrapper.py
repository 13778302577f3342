# SPDX-License-Identifier: Apache-2.0

"""The door of an application that may not be loaded yet."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import importlib
import math
import os
import queue
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck.answers import page
from healthcheck.config import databases
from healthcheck.config import redact
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck import middleware
from healthcheck.plugins import backends
from healthcheck.plugins import base
from healthcheck.probing import daemons
from healthcheck.probing import scheduler
from healthcheck.reports import changes
from healthcheck.reports import report
from healthcheck.serving import loader

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

NOT_LOADED = 'NOT LOADED'

CHECK = 'application'
"""The name of the check that shows whether the application is loaded."""

_WELL = b'1'
# Seconds that the child may take to start and to report.
_GRACE = 2.0

_APP = 'HEALTHCHECK_APP'
_PROJECT = 'HEALTHCHECK_CONFIG_PROJECT'
_FILES = 'HEALTHCHECK_CONFIG_FILES'
_DIRS = 'HEALTHCHECK_CONFIG_DIRS'


class Application:
    """A WSGI application that is there from the start.

    It answers ``/healthcheck`` itself, and passes every other request to the
    application, or answers 503 until that is loaded.

    If the backends are up at start, the application is loaded then, as it
    would be without the wrapper. If not, each process loads it when they are
    up, after it has answered a request. It uses the main thread if that serves
    requests, because services set signal handlers while they load; else a
    separate thread.

    :param target: the application
    :param conf: the service's configuration, read for us alone: the
        application reads its own when it is loaded
    :raises healthcheck.exceptions.ConfigError: with all problems
    """

    def __init__(self, target: loader.ImportPath,
                 conf: cfg.ConfigOpts) -> None:
        target.find()
        with _native_threads():
            self._door = middleware.Healthcheck(
                self._below, conf, switches={CHECK: self._state})
            well = _are_well(conf, self._door.policy.timeout)
        self._loader = loader.Loader(target, redact.Redactor(*_urls(conf)))
        self._unavailable = page.make(
            503, 'Service Unavailable: the application is not loaded yet',
            extra=(('Retry-After',
                    str(math.ceil(self._door.policy.interval))),))
        if well:
            self._loader.load()
        else:
            LOG.warning('Healthcheck: %s is not loaded before its backends '
                        'are well', target.text)

    def __call__(self, environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
        body = self._door(environ, start_response)
        if self._loader.application is not None:
            return body
        # The caller does not wait for it.
        return _AndThen(body, lambda: self._go_on_loading(environ))

    def stop(self, timeout: float = 0.0) -> None:
        """Stop probing in this process; see ``Healthcheck.stop``."""
        self._door.stop(timeout)

    def _below(self, environ: wsgi.WSGIEnvironment,
               start_response: wsgi.StartResponse) -> Iterable[bytes]:
        application = self._loader.application
        if application is None:
            application = self._unavailable
        return application(environ, start_response)

    def _state(self, environ: wsgi.WSGIEnvironment) -> str:
        return NOT_LOADED if self._loader.application is None else report.OK

    def _go_on_loading(self, environ: wsgi.WSGIEnvironment) -> None:
        def are_well() -> bool:
            return self._door.probed(environ) in (
                report.Status.PASS, report.Status.WARN)
        # Not threading.main_thread(): greenlets have another idea of it.
        if threading.get_native_id() == os.getpid():
            self._loader.attempt(are_well)
        elif 'uwsgi' not in sys.modules:
            self._loader.attempt_aside(are_well)
        # One of uWSGI's threads is the main one: its turn will come.


class _AndThen:
    """The body of an answer, and what to do after it was sent."""

    def __init__(self, body: Iterable[bytes],
                 then: Callable[[], None]) -> None:
        self._body = body
        self._then = then

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, 'close', None)
            if close is not None:
                close()
        finally:
            self._then()


def from_environment(variables: Mapping[str, str]) -> Application:
    """The application that environment variables describe.

    :raises healthcheck.exceptions.ConfigError: with all problems
    """
    text = variables.get(_APP, '')
    if not text:
        raise exceptions.ConfigError([
            f'{_APP} is not set: healthcheck.wsgi wraps the WSGI application '
            f'of that import path (for example '
            f'{_APP}=nova.wsgi.osapi_compute:application)'])
    target = loader.ImportPath(text, _APP)
    return Application(target, _read_conf(
        variables.get(_PROJECT) or target.package,
        _paths(variables.get(_FILES)), _paths(variables.get(_DIRS))))


def _paths(text: str | None) -> list[str]:
    return [path.strip() for path in (text or '').split(';') if path.strip()]


def _read_conf(project: str, files: Sequence[str],
               dirs: Sequence[str]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    for path in dirs:
        if not os.path.isdir(path):  # oslo.config ignores it silently
            raise exceptions.ConfigError([
                f'{_DIRS} = {";".join(dirs)!r}: {path} is not a directory'])
    try:
        conf([], project=project, default_config_files=list(files) or None,
             default_config_dirs=list(dirs) or None)
    except cfg.Error as exc:
        raise exceptions.ConfigError([
            f'{_FILES} = {";".join(files)!r}, {_PROJECT} = {project!r}: '
            f'{redact.Redactor()(exc)}']) from None
    return conf


@contextlib.contextmanager
def _native_threads() -> Iterator[None]:
    """Keep our imports from importing eventlet.

    We import oslo.messaging before the service does. It lets oslo.service
    choose a backend, whose default is eventlet, and futurist imports eventlet
    wherever it is installed. Nova, which runs without it, then refuses to
    load. If oslo.service has no other backend, eventlet stays allowed.
    """
    if 'eventlet' in sys.modules:
        yield
        return
    # Python's own way to say that there is no such module.
    sys.modules['eventlet'] = None  # type: ignore[assignment]
    try:
        if not _choose_threads():
            del sys.modules['eventlet']
        yield
    finally:
        if sys.modules.get('eventlet', sys) is None:
            del sys.modules['eventlet']


def _choose_threads() -> bool:
    """Let oslo.service use threads if the service has not chosen."""
    try:
        chooser = importlib.import_module('oslo_service.backend')
        # Comes with the extra [threading] of oslo.service.
        importlib.import_module('oslo_service.backend._threading')
        chooser.register_backend_default_hook(
            lambda: chooser.BackendType.THREADING)
    except (ImportError, AttributeError):
        return False
    return True


def _urls(conf: cfg.ConfigOpts) -> list[str]:
    options = ((None, 'transport_url'), ('api_database', 'connection'),
               *databases.places_of(vars(conf).get('project')))
    urls = []
    for group, name in options:
        # Problems of those that are probed have been reported already.
        with contextlib.suppress(exceptions.ConfigError):
            urls.append(views.service_option(conf, group, name))
    return [url for url in urls if url]


def _are_well(conf: cfg.ConfigOpts, timeout: float) -> bool:
    """Probe each critical check once, in a child process.

    This process may be forked next, into workers. A thread here would leave
    them its locks: OpenSSL takes one when a thread ends, after it can be
    joined, and a process forked at that moment waits for it for ever. And the
    child can be killed, whatever a probe waits for.

    :param timeout: the longest time to wait, in seconds
    """
    reading, writing = os.pipe()
    with open(reading, 'rb', buffering=0) as answers:
        try:
            child = os.fork()
            if child == 0:
                try:
                    if _look(conf, timeout):
                        os.write(writing, _WELL)
                finally:
                    os._exit(0)
        finally:
            os.close(writing)
        try:
            # Not select(): it fails with a descriptor above 1023.
            poll = select.poll()
            poll.register(answers, select.POLLIN)
            if poll.poll(math.ceil((timeout + _GRACE) * 1000)):
                return answers.read(1) == _WELL
            return False
        finally:
            _end(child)


def _end(child: int) -> None:
    """Kill a child that may still run, and clean up after it."""
    # The server may have reaped it.
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _look(conf: cfg.ConfigOpts, timeout: float) -> bool:
    """Whether each critical check passes at its first probe."""
    view = views.View(conf, {})
    settings = view.settings
    found: queue.Queue[changes.StateChange] = queue.Queue()
    checks = {check.name: check
              for check in backends.Backends(view).make_checks(0)
              if check.name not in settings.noncritical}
    if not checks:
        return True
    probing = scheduler.Scheduler(
        list(checks.values()), base.policy_of(settings), lambda report: None,
        workers=settings.cells_workers, changed=found.put)
    daemons.start(probing.run, 'healthcheck-rehearsal')
    deadline = time.monotonic() + timeout
    missing = set(checks)
    try:
        while missing:
            change = found.get(timeout=max(0.0, deadline - time.monotonic()))
            missing.discard(change.check)
            # A first failure is a warning that has to be confirmed.
            if change.after is report.Status.FAIL or (
                    not checks[change.check].state.settled):
                LOG.warning('Healthcheck %(check)s: %(reason)s (%(detail)s)',
                            {'check': change.check, 'reason': change.reason,
                             'detail': change.detail})
                return False
    except queue.Empty:
        LOG.warning('Healthcheck %s: no answer within %g s',
                    ', '.join(sorted(missing)), timeout)
        return False
    return True
