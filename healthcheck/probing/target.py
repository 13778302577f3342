# SPDX-License-Identifier: Apache-2.0

"""A target is something that is probed: a database, a queue, a plugin.

There is one target for each distinct backend, however many checks use it.
Two targets with the same :attr:`Target.key` are the same backend; only one of
them is used.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import ipaddress
import socket
from typing import Any

from healthcheck.probing import evidence
from healthcheck.probing import state
from healthcheck.reports import report


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    :param result: pass, or what is wrong
    :param value: what was asked for; None if it could not be determined
    """

    result: report.Result
    value: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """A further question, asked on a visit that has found the target well.

    It is asked over the probe's connection, within the same bound. If it
    fails, that says nothing about the target itself.

    :param ask: called with the connection; an exception is a failure
    """

    ask: Callable[[Any], Answer]


@dataclasses.dataclass(frozen=True, slots=True)
class Findings:
    """What one visit found.

    :param result: of the target itself
    :param answers: to the questions that were asked
    """

    result: report.Result
    answers: Mapping[Question, Answer] = dataclasses.field(
        default_factory=dict)

    def answer(self, question: Question | None) -> Answer:
        """What the visit says about one question, or the target itself."""
        if question is None:
            return Answer(self.result)
        return self.answers.get(question, Answer(self.result))


class Target(abc.ABC):
    """What a visit probes.

    It is made while the service loads, perhaps in a process that forks
    later. So it must open nothing before the first :meth:`probe`.

    :ivar name: for the log
    :ivar hosts: the hosts that it is on; empty if on this one or unknown
    :ivar place: where it is, without a secret, and the same on all nodes;
        empty if unknown
    :ivar traffic: the mark of the service's own calls to it; None if these
        are not seen
    """

    name = ''
    hosts: frozenset[str] = frozenset()
    place = ''
    traffic: int | None = None

    @property
    def key(self) -> Hashable:
        """Identifies the backend. It may hold a secret."""
        return self

    @property
    def shared(self) -> bool:
        """Whether other nodes probe the same backend.

        A loopback address, a UNIX socket or a file leads to another backend
        on each host, so these are this node's own.
        """
        return bool(self.hosts) and not any(map(_is_here, self.hosts))

    @abc.abstractmethod
    def probe(self, questions: Sequence[Question] = ()) -> Findings:
        """Probe it once. Runs in a thread, one run at a time."""

    def answered(self, result: report.Result) -> bool:
        """Whether a failure was reported by the target itself."""
        return False

    def proved_at(self, seen: evidence.Seen) -> float:
        """When traffic last proved all that a probe proves; -inf if never."""
        return seen.answered_at

    def overdue(self) -> tuple[str, str]:
        """(reason, detail) why a running probe has no answer yet.

        The scheduler calls this while :meth:`probe` runs, once for each
        ``timeout`` that passes. It must return at once. It may cut off what
        the probe waits for.
        """
        return state.NO_ANSWER, ''

    def close(self) -> None:
        """Close what :meth:`probe` has opened; never called during one."""


@functools.lru_cache(maxsize=1024)
def _is_here(host: str) -> bool:
    """Whether a host name means the local host. Does no DNS look-up."""
    name = host.strip('[]').lower().removesuffix('.')
    if name in _names_of_this_host() or name.endswith('.localhost'):
        return True
    try:
        # The C library accepts "127.1" as an address, and so do drivers.
        address = (ipaddress.ip_address(name) if ':' in name else
                   ipaddress.ip_address(socket.inet_aton(name)))
    except (OSError, ValueError):
        return False
    address = getattr(address, 'ipv4_mapped', None) or address
    return address.is_loopback or address.is_unspecified


def _names_of_this_host() -> frozenset[str]:
    own = socket.gethostname().lower()
    return frozenset((own, own.partition('.')[0], 'localhost',
                      'localhost.localdomain', 'ip6-localhost',
                      'ip6-loopback'))
