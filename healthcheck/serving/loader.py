# SPDX-License-Identifier: Apache-2.0

"""Loads a WSGI application by its import path, once that is possible."""

from __future__ import annotations

from collections.abc import Callable
import difflib
import fcntl
import importlib
from importlib import util
import math
import operator
import os
import random
import re
import threading
import time
import traceback
from typing import TYPE_CHECKING
import weakref

from oslo_log import log as logging

from healthcheck import exceptions

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

# Seconds between two failed attempts.
_FIRST_DELAY = 1.0
_LAST_DELAY = 60.0

_SHAPE = re.compile(r'([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(\(\))?')


class ImportPath:
    """An import path: ``module:attribute`` or ``module:factory()``.

    :param text: the import path
    :param source: where the text comes from, for errors
    :raises healthcheck.exceptions.ConfigError: if it is not of that form
    """

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self._source = source
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise self._error('not an import path (allowed: module:attribute, '
                              'or module:function() for the return value of '
                              'a function)')
        self._module, self._attribute, self._call = match.groups()

    @property
    def package(self) -> str:
        """The outermost package of the application."""
        return self._module.partition('.')[0]

    def find(self) -> None:
        """Look for the module without running it.

        :raises healthcheck.exceptions.ConfigError: if it does not exist. An
            error in a package above it is not reported here, because it may
            be gone when the application is loaded.
        """
        try:
            spec = util.find_spec(self._module)
        except ModuleNotFoundError as exc:
            if not f'{self._module}.'.startswith(f'{exc.name}.'):
                return
            spec = None
        except Exception:
            return
        if spec is None:
            raise self._error(f'there is no module {self._module} (install '
                              f'it in the environment of the server, or '
                              f'correct the spelling)')

    def load(self) -> wsgi.WSGIApplication:
        """Import the application.

        A module whose import failed is not in ``sys.modules``, so the next
        attempt runs it again. Modules that it imported stay. mod_wsgi repeats
        a load in the same way, and services are made for that.

        :raises healthcheck.exceptions.ConfigError: if the module has no such
            attribute, or it is not an application
        """
        module = importlib.import_module(self._module)
        try:
            found = operator.attrgetter(self._attribute)(module)
        except AttributeError:
            near = difflib.get_close_matches(self._attribute, vars(module), 1)
            raise self._error(
                f'module {self._module} has no {self._attribute}' + (
                    f'; did you mean {near[0]}?' if near else '')) from None
        if self._call:
            found = found()
        if not callable(found):
            raise self._error(f'{type(found).__name__} is not a WSGI '
                              f'application (allowed: a callable)')
        application: wsgi.WSGIApplication = found
        return application

    def _error(self, problem: str) -> exceptions.ConfigError:
        return exceptions.ConfigError([
            f'{self._source} = {self.text!r}: {problem}'])


class Loader:
    """Loads an application, and repeats that until it succeeds.

    :param target: the application
    :param redact: removes secrets from a line for the log
    :param clock: monotonic seconds
    :param uniform: the source of jitter. Not the ``random`` module's own
        generator: processes forked from one may share its state, and all
        would load in step.
    :ivar application: None until it is loaded
    """

    def __init__(self, target: ImportPath, redact: Callable[[str], str], *,
                 clock: Callable[[], float] = time.monotonic,
                 uniform: Callable[[float, float], float] =
                 random.SystemRandom().uniform) -> None:
        self._target = target
        self._redact = redact
        self._clock = clock
        self._uniform = uniform
        self.application: wsgi.WSGIApplication | None = None
        # Held by the one thread that makes an attempt.
        self._loading = threading.Lock()
        self._turn = _Turn()
        self._given_up = False
        self._lacks_threads = False
        self._failures = 0
        self._due_at = -math.inf
        self._said = ''

    def load(self) -> None:
        """Try now. Log it if the application cannot be loaded yet.

        :raises healthcheck.exceptions.ConfigError: if it never can be
        """
        try:
            self.application = self._target.load()
        except (exceptions.ConfigError, KeyboardInterrupt):
            raise
        # Services end the process if their configuration is wrong, and
        # SystemExit is not an Exception.
        except BaseException as exc:
            self._failures += 1
            delay = min(_FIRST_DELAY * 2 ** (self._failures - 1), _LAST_DELAY)
            delay *= self._uniform(0.5, 1.0)
            self._due_at = self._clock() + delay
            self._log_failure(exc)

    def attempt(self, backends_are_well: Callable[[], bool]) -> None:
        """Try, if it is time. Other threads do not wait meanwhile.

        With its backends down, an application may take minutes to fail, and
        some do not allow a second attempt. So the attempt is made when they
        are up, and at once when they recover. Processes forked from one take
        turns, so the others can answer meanwhile.
        """
        if self._loading.acquire(blocking=False):
            self._attempt(backends_are_well)

    def attempt_aside(self, backends_are_well: Callable[[], bool]) -> None:
        """Do that in a separate thread, at most one at a time."""
        if not self._loading.acquire(blocking=False):
            return
        # Not probing.daemons: processes that the service starts while it
        # loads would inherit that signals are blocked.
        thread = threading.Thread(
            target=self._attempt, args=(backends_are_well,),
            name='healthcheck-loader', daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            self._loading.release()
            if not self._lacks_threads:
                self._lacks_threads = True
                LOG.error('Healthcheck: no thread can be started to load '
                          '%(app)s, which the next request tries again: '
                          '%(error)s', {'app': self._target.text,
                                        'error': exc})
        else:
            self._lacks_threads = False

    def _attempt(self, backends_are_well: Callable[[], bool]) -> None:
        """Try, and then allow the next attempt."""
        try:
            if self.application is not None or self._given_up:
                return
            if not backends_are_well():
                self._failures, self._due_at = 0, -math.inf
            elif self._clock() >= self._due_at and self._turn.take():
                try:
                    self.load()
                finally:
                    self._turn.give_back()
        except exceptions.ConfigError as exc:
            self._given_up = True
            LOG.error('%s', exc)
        finally:
            self._loading.release()

    def _log_failure(self, exc: BaseException) -> None:
        """Log a failure with its traceback, each kind once."""
        kind = f'{type(exc).__module__}.{type(exc).__qualname__}'
        if kind == self._said:
            LOG.debug('Healthcheck: %s is not loaded: %s again',
                      self._target.text, kind)
            return
        self._said = kind
        lines = ''.join(traceback.format_exception(exc)).splitlines()
        LOG.error(
            'Healthcheck: %(app)s cannot be loaded, and will be tried again: '
            '%(kind)s%(hint)s\n%(traceback)s',
            {'app': self._target.text, 'kind': kind, 'hint': _hint(exc),
             'traceback': '\n'.join(
                 line[:len(line) - len(line.lstrip())] + self._redact(line)
                 for line in lines)})


class _Turn:
    """A lock that one process at a time holds, of all forked from this one.

    A lock of fcntl belongs to a process, whichever process opened the file,
    and ends with it.
    """

    def __init__(self) -> None:
        self._descriptor = os.memfd_create('healthcheck-loader')
        weakref.finalize(self, os.close, self._descriptor)

    def take(self) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def give_back(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _hint(exc: BaseException) -> str:
    if isinstance(exc, ValueError) and 'main thread' in str(exc):
        # signal.signal; oslo.reports calls it for its Guru Meditation.
        return (' (it sets signal handlers, which only the main thread can '
                'do: let the server answer requests in it, or restart the '
                'server while the backends are up)')
    return ''
