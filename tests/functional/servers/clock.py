# SPDX-License-Identifier: Apache-2.0

"""A MariaDB whose clock can be wrong."""

from __future__ import annotations

import datetime

from tests.functional.servers import mariadb
from tests.functional.servers import process


class ClockedMariaDB(mariadb.MariaDB):
    """A MariaDB that gets the time from a library of ours.

    Its wall clock is wrong, and the one that it waits by is right.
    """

    def prepare(self) -> None:
        super().prepare()
        self.set_clock(0)

    def command(self) -> list[str]:
        # The program names the library, wherever that is.
        faketime = process.find_binary('faketime', 'faketime')
        library = self.run([faketime, '-m', '-f', '+0', 'printenv',
                            'LD_PRELOAD']).strip()
        # Not in environment(), which other programs of the server get too.
        return ['env', f'LD_PRELOAD={library}',
                f'FAKETIME_TIMESTAMP_FILE={self.directory / "clock"}',
                'FAKETIME_CACHE_DURATION=1',
                'FAKETIME_DONT_FAKE_MONOTONIC=1',
                # Nothing that would outlive the server.
                'FAKETIME_DISABLE_SHM=1', *super().command()]

    def set_clock(self, ahead: int) -> None:
        """Put the clock forward, by seconds; it follows within a second.

        :param ahead: of the right time; below 0: behind it
        """
        new = self.directory / 'clock.new'
        new.write_text(f'{ahead:+d}s\n')
        new.rename(self.directory / 'clock')

    def is_ahead(self) -> float:
        """By how many seconds its clock is ahead of ours."""
        (ahead,), = self.sql('SELECT TIMESTAMPDIFF(MICROSECOND, %s,'
                             ' UTC_TIMESTAMP(6))', _utcnow())
        return int(ahead) / 1e6


def _utcnow() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
