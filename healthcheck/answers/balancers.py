# SPDX-License-Identifier: Apache-2.0

"""How balancers see this node, which HAProxy tells in its checks.

With ``http-check send-state``, each check has a header such as ::

    X-Haproxy-Server-State: UP 2/3; address=192.0.2.11; port=8774;
      name=api/node1; node=lb1; weight=1/2; scur=13/22; qcur=0

``weight`` has the server's weight and that of all usable servers together.
HAProxy 2.6 sends this to a server in a backend of three with weight 1 each:

=======================  ======================================================
``UP; weight=1/3``       all are usable
``UP; weight=1/1``       this is the last one
``DOWN; weight=1/1``     this is out, and another one is the last
``DOWN; weight=1/0``     none is usable
``DOWN 4/2; …``          its agent has taken it out, and the checks pass
=======================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import random
import re
import time
from typing import TYPE_CHECKING

from oslo_log import log as logging

from healthcheck.answers import access

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

HEADER = 'HTTP_X_HAPROXY_SERVER_STATE'

BELIEVED = 30.0
"""Seconds for which a statement is valid. The slowest polls of deployment
tools come every 12 s (OpenStack-Ansible), so two polls may be lost."""

COME_BACK = (10.0, 30.0)
"""If a node comes back while no other is usable, it stays for a random time
between these, in seconds. Others may come back at the same moment. If each
left as soon as it heard of the others, all would leave together again."""

_MOST_SERVERS = 32
_MOST_CHARACTERS = 512

_STATE = re.compile(r'(UP|DOWN|NOLB)( [0-9]{1,9}/[0-9]{1,9})?')
# What HAProxy accepts as a name.
_SERVER = re.compile(r'[A-Za-z0-9_.:-]{1,64}/[A-Za-z0-9_.:-]{1,64}')
_NODE = re.compile(r'[A-Za-z0-9_.:-]{1,64}')
_WEIGHT = re.compile(r'([0-9]{1,9})/([0-9]{1,9})')


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """What one balancer says about one server.

    :param state: such as ``UP`` or ``DOWN 1/2``
    :param server: the backend and the server, such as ``api/node1``
    :param node: the balancer's own name
    :param weight: of this server
    :param usable: the weight of all usable servers together
    :param starting: whether its weight is still being raised
    """

    state: str
    server: str
    node: str
    weight: int
    usable: int
    starting: bool = False

    @property
    def up(self) -> bool:
        """Whether the server is in, or on its way out."""
        return self.state.startswith('UP')

    @property
    def last(self) -> bool:
        """Whether no other server is usable.

        ``usable`` does not include a server that is out. Nor does it include
        a backup server while others are up, and the header does not say so:
        with backups, several servers may hear that they are the last. While
        weights are being raised (``slowstart``), they are rounded up, so two
        servers of weight 1 may hear 1/1.
        """
        if not self.usable:
            return True
        return (self.up and not self.starting
                and self.weight == self.usable)


def parse(text: str) -> Statement | None:
    """The statement in a header's value; None if there is none."""
    if len(text) > _MOST_CHARACTERS:
        return None
    state, *fields = text.split('; ')
    values = dict(field.partition('=')[::2] for field in fields)
    server, node = values.get('name', ''), values.get('node', '')
    weight = _WEIGHT.fullmatch(values.get('weight', ''))
    # If a header came twice, it is unknown which one is true.
    twice = len(values) < len(fields)
    if not (weight and not twice and _STATE.fullmatch(state)
            and _SERVER.fullmatch(server) and _NODE.fullmatch(node)):
        return None
    return Statement(state, server, node, int(weight[1]), int(weight[2]),
                     'throttle' in values)


@dataclasses.dataclass(frozen=True, slots=True)
class Sighting:
    """A statement and how it came.

    :param address: of the balancer
    :param at: when, in monotonic seconds
    :param held: whether we answered that this node stays in although it fails
    :param until: the node stays in until then, even if other servers become
        usable; in monotonic seconds
    """

    statement: Statement
    address: str
    at: float
    held: bool
    until: float = 0.0

    def fresh(self, now: float) -> bool:
        """Whether it is still valid."""
        return now - self.at < BELIEVED


class Balancers:
    """What this process has heard from balancers.

    Clients can send the header, too. So only requests from the addresses of
    balancers count, unless they were visibly forwarded. Requests use this
    object without a lock: each replaces one item.

    :param ranges: networks of the balancers
    :param clock: monotonic seconds
    :param uniform: the source of randomness. Workers of one node may share
        it; nodes must not.
    """

    def __init__(self, ranges: access.Ranges,
                 clock: Callable[[], float] = time.monotonic,
                 uniform: Callable[[float, float], float] = random.uniform,
                 ) -> None:
        self._ranges = ranges
        self._clock = clock
        self._uniform = uniform
        self._seen: dict[tuple[str, str, str], Sighting] = {}
        self._noted = False

    def take(self, environ: wsgi.WSGIEnvironment, reasons: str) -> bool:
        """Take a poll; return whether the node stays in, if it may.

        It stays if the poll says that no other server is usable, or for the
        time of :data:`COME_BACK` after one said so while the node was out.

        :param environ: has :data:`HEADER`
        :param reasons: why the node fails, if it may stay in nevertheless;
            else empty
        """
        if not self._ranges.hold(environ) or access.is_forwarded(environ):
            return False
        said = parse(environ[HEADER])
        if said is None:
            return False
        address = environ['REMOTE_ADDR']
        key = address, said.node, said.server
        before = self._seen.get(key)
        # Again if another thread has forgotten the same one, or the dict
        # would grow by one each time.
        while before is None and len(self._seen) >= _MOST_SERVERS:
            self._forget_oldest()
        now, until = self._clock(), 0.0
        if said.last and not said.up and reasons:
            until = now + self._uniform(*COME_BACK)
        elif before is not None and said.up and not said.last:
            until = before.until
        stays = said.last or now < until
        held = stays and bool(reasons)
        self._seen[key] = Sighting(said, address, now, held, until)
        if held and not self._noted or self._noted and not reasons:
            self._note(said, reasons)
        return stays

    def seen(self) -> list[Sighting]:
        """The last statement about each server, sorted."""
        return sorted(self._seen.copy().values(), key=lambda each: (
            each.statement.node, each.statement.server, each.address))

    def holds(self) -> bool:
        """Whether we lately told a balancer that this node stays in."""
        now = self._clock()
        return any(each.held and each.fresh(now) for each in self.seen())

    def checks(self, address: str) -> bool:
        """Whether the balancer at an address lately sent a statement."""
        now = self._clock()
        return any(each.address == address and each.fresh(now)
                   for each in self.seen())

    def inherit(self, other: Balancers) -> None:
        """Take over what another object has heard."""
        self._seen.update(other._seen.copy())
        self._noted = other._noted

    def _forget_oldest(self) -> None:
        # Another request may do this at the same time.
        oldest = min(self._seen.copy().items(), key=lambda each: each[1].at)
        self._seen.pop(oldest[0], None)

    def _note(self, said: Statement, reasons: str) -> None:
        self._noted = bool(reasons)
        if reasons:
            LOG.warning('Healthcheck stays in although it fails (%(reasons)s):'
                        ' %(node)s has no other usable server than '
                        '%(server)s',
                        {'reasons': reasons, 'node': said.node,
                         'server': said.server})
        else:
            LOG.info('Healthcheck no longer needs to stay in although it '
                     'fails')
