# SPDX-License-Identifier: Apache-2.0

"""HAProxy's agent check: a line of text for each connection.

HAProxy acts on the line at once, and goes by what it heard last until it
hears something else. What 2.6 makes of the words:

=================  ============================================================
``up 100%``        in, with its whole weight; undoes ``down`` and ``up 0%``
``up 50%``         in, with half of it, rounded down: a weight of 1 becomes 0
``up 0%``          no new work, as in a drain
``down #reason``   out; of the other words here, only ``up`` undoes it
nothing            no change; nor is an agent that is gone a failure
``drain, maint``   an operator's states: only ``ready`` undoes them, and that
                   also undoes what an operator has set. So they are not said.
=================  ============================================================
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import selectors
import socket
import time
from typing import TYPE_CHECKING

from oslo_log import log as logging

from healthcheck.answers import board
from healthcheck.answers import holding
from healthcheck.answers import render
from healthcheck.answers import switches as switches_module
from healthcheck.probing import daemons
from healthcheck.reports import report

if TYPE_CHECKING:
    from healthcheck.serving import agent
    from healthcheck.serving import door as door_module

LOG = logging.getLogger(__name__)

UP = b'up 100%\n'
DRAINED = b'up 0%\n'

# HAProxy keeps 127 characters of a reason.
_MOST_REASON = 120

# Seconds in which a caller has to take the line and close the connection, and
# how many connections may wait for that. The line has been sent by then.
_LINGER = 5.0
_MOST = 64
# Connections that are accepted before others are closed.
_BATCH = 32

# Seconds between two looks at the deadlines.
_LOOK = 1.0

# Balancers that are remembered for the end, and for how many seconds.
_MOST_BALANCERS = 64
_REMEMBERED = 60.0

FAREWELL = 5.0
"""Seconds at the end for balancers to hear the last word. HAProxy asks every
2 s by default."""

# A UNIX socket has no address, see listening.
_SELF = '127.0.0.1'


def word(pages: board.Pages, switches: switches_module.Switches,
         weight: int = 100, checked: bool = False) -> bytes:
    """What an agent says of a node.

    :param switches: an operator drains the node with these
    :param weight: of a node that warns, in percent
    :param checked: whether the balancer asks over HTTP, too, and says there
        whether this node is the last one. Where that decides, it is left to
        that answer.
    """
    if pages.reports.checks is None:
        return _down(b''.join(pages.ready.pages[render.TEXT].body).decode())
    status, judged = report.judge(pages.verdicts)
    out = holding.failing(judged)
    broken = [one for one in out if one.name not in switches.names]
    if broken and not (checked and pages.held):
        return _down('; '.join(one.reason for one in broken))
    if pages.out or len(out) > len(broken):
        return DRAINED
    return UP if status is report.Status.PASS else b'up %d%%\n' % weight


def _down(reason: str) -> bytes:
    text = ''.join(char for char in reason if ' ' <= char <= '~')
    return f'down #{text[:_MOST_REASON]}\n'.encode()


class Speaker:
    """What an agent says to balancers, from the published report.

    :param running: the agent
    :param weight: of a node that warns, in percent
    :param clock: monotonic seconds
    """

    def __init__(self, running: agent.Agent, weight: int = 100,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = running
        self._weight = weight
        self._clock = clock
        # By then there is a report, or something is wrong. Until then a
        # balancer keeps what it knows: an agent that is restarted must not
        # take a node out that is well.
        self._silent_until = clock() + running.door.policy.detection
        self._made: tuple[board.Pages | None, bool, bytes] = None, False, b''
        self._said: dict[str, tuple[bytes, float]] = {}
        self._leaving = False

    def say(self, address: str, port: str) -> bytes:
        """The line for a caller; empty for none.

        :param address: where the caller is
        :param port: that it asks
        """
        environ = {'REMOTE_ADDR': address, 'SERVER_PORT': port}
        door = self._agent.door
        if not door.allows(environ):
            return b''
        pages = door.shown(environ)
        if pages is None or pages.reports.checks is None:
            if self._clock() < self._silent_until or self._leaving:
                return b''
        line = (_down(report.STARTING) if pages is None
                else self._line(pages, door, address))
        if self._leaving and line != DRAINED:
            line = UP
        self._remember(address, line)
        return line

    def leave(self) -> bool:
        """Say from now on what holds when there is no agent any more.

        An agent that is gone is no failure, and what it said last holds: a
        node would be out until the agent is back. A drain is left as it is.

        :return: whether a balancer has to hear that
        """
        self._leaving = True
        now = self._clock()
        return any(line not in (UP, DRAINED) and now - at < _REMEMBERED
                   for line, at in self._said.copy().values())

    def _line(self, pages: board.Pages, door: door_module.Door,
              address: str) -> bytes:
        checked = bool(pages.held) and door.is_checked_by(address)
        made_of, was_checked, line = self._made
        if made_of is not pages or was_checked is not checked:
            line = word(pages, door.switches, self._weight, checked)
            self._made = pages, checked, line
        return line

    def _remember(self, address: str, line: bytes) -> None:
        if address not in self._said and len(self._said) >= _MOST_BALANCERS:
            del self._said[min(self._said,
                               key=lambda each: self._said[each][1])]
        self._said[address] = line, self._clock()


class LineServer:
    """Sends a line to each caller, all in one thread.

    It is sent as soon as a connection is accepted, before anything is read.
    So a caller that is slow or silent delays nobody. What a caller sends
    (``agent-send``) is thrown away: a connection that is closed with unread
    data is reset, and the line could be lost.

    :param listening: sockets that are listened on
    :param say: from (address, port) to the line; empty for none
    """

    def __init__(self, listening: Iterable[socket.socket],
                 say: Callable[[str, str], bytes]) -> None:
        self._listening = list(listening)
        self._say = say
        self._waiting: dict[socket.socket, float] = {}
        self._failing = False
        self._selector = selectors.DefaultSelector()
        for each in self._listening:
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)

    def start(self) -> None:
        """Answer for as long as the process runs."""
        daemons.start(self._run, 'healthcheck-agent-check')

    def _run(self) -> None:
        while True:
            try:
                self.step(_LOOK)
                self._failing = False
            except Exception:
                # Such as no more descriptors. It must not end the thread, nor
                # keep a processor busy.
                if not self._failing:
                    LOG.exception('The agent check of the healthcheck agent '
                                  'failed; it goes on trying')
                self._failing = True
                time.sleep(_LOOK)

    def step(self, timeout: float) -> None:
        """Serve those that are there; wait for them for some seconds."""
        for key, _ in self._selector.select(timeout):
            found = key.fileobj
            assert isinstance(found, socket.socket)
            if found in self._waiting:
                self._hear(found)
            else:
                self._accept(found)
        now = time.monotonic()
        # The oldest come first.
        for each, until in list(self._waiting.items()):
            if until > now and len(self._waiting) <= _MOST:
                break
            self._close(each)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                caller, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            caller.setblocking(False)
            try:
                line = self._say(*_names(listening, address))
                if line:
                    caller.send(line)
                caller.shutdown(socket.SHUT_WR)
            except OSError:  # it has gone
                caller.close()
                continue
            except BaseException:
                caller.close()
                raise
            self._waiting[caller] = time.monotonic() + _LINGER
            self._selector.register(caller, selectors.EVENT_READ)

    def _hear(self, caller: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                if caller.recv(4096):
                    return
            except ConnectionError:
                pass
            self._close(caller)

    def _close(self, caller: socket.socket) -> None:
        del self._waiting[caller]
        self._selector.unregister(caller)
        caller.close()


def _names(listening: socket.socket, address: object) -> tuple[str, str]:
    """(address of the caller, port that it asks)."""
    if listening.family == socket.AF_UNIX or not isinstance(address, tuple):
        return _SELF, ''
    return str(address[0]), str(listening.getsockname()[1])
