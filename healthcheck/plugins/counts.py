# SPDX-License-Identifier: Apache-2.0

"""Counts of services: made by this node, or taken from another one.

The services of a database are the same from every node of a fleet, and to
count them is the most expensive statement of a visit. Whether the database
can be reached is not the same, so only a visit that has reached it asks here.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import hashlib
import time

import sqlalchemy

from healthcheck.fleet import scans as scans_module
from healthcheck.host import codec
from healthcheck.plugins import heartbeats
from healthcheck.plugins import services_rules

Found = heartbeats.Found

Count = Callable[[sqlalchemy.Connection], Found]
"""Counts with one statement."""

Judge = Callable[[Found], Sequence[services_rules.Problem]]
"""Finds what is wrong with a count."""


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """What a visit has counted; two are equal if their verdict is the same.

    :param dead: the binaries of which none is up
    :param at: when, in monotonic seconds
    :param by: the node that has counted; empty if this one has
    """

    dead: frozenset[str]
    skewed: bool
    found: Found = dataclasses.field(compare=False)
    at: float = dataclasses.field(compare=False)
    by: str = dataclasses.field(compare=False, default='')

    @classmethod
    def of(cls, found: Found, at: float | None = None,
           by: str = '') -> Counted:
        """:param at: default: now"""
        return cls(frozenset(kind.binary for kind in found.kinds
                             if not kind.up), found.skewed, found,
                   time.monotonic() if at is None else at, by)

    @property
    def described(self) -> str:
        """The numbers for admins, and where they come from."""
        numbers = services_rules.describe(self.found)
        return f'{numbers} (counted by {self.by})' if self.by else numbers


@dataclasses.dataclass(frozen=True, slots=True)
class Counter:
    """Counts for one check.

    :param scans: what other nodes have counted; None without a fleet
    :param rule: what decides which services are up
    :param check: the name of the check
    :param target: returns the digest of what the check looks at; empty if
        other nodes do not look at the same
    """

    execute: Count
    rule: str
    scans: scans_module.Scans | None
    check: str
    target: Callable[[], str]

    def count(self, connection: sqlalchemy.Connection, place: str,
              judge: Judge) -> Counted:
        """Take another node's count if nothing is wrong with it, or count.

        So what another node says can never make the check warn or fail.

        :param place: of the database, see :attr:`target.Target.place`
        :raises sqlalchemy.exc.SQLAlchemyError: if the statement fails
        """
        target = self.target() if self.scans is not None and place else ''
        if self.scans is None or not target:
            return Counted.of(self.execute(connection))
        subject = scans_module.Subject(self.check, target, hashlib.blake2b(
            f'{self.rule} {place}'.encode(errors='surrogateescape'),
            digest_size=8).hexdigest())
        taken = _parsed(self.scans.take(subject, time.monotonic()))
        if taken is not None and not judge(taken.found):
            return taken
        began_at = time.monotonic()
        counted = Counted.of(self.execute(connection))
        self.scans.put(subject, codec.dump(counted.found).decode(), began_at)
        return counted


def _parsed(taken: scans_module.Taken | None) -> Counted | None:
    """None if it is none, or not of this release."""
    if taken is None:
        return None
    try:
        found = codec.load(Found, taken.value.encode())
    except ValueError:
        return None
    return Counted.of(found, taken.at, taken.node)
