# SPDX-License-Identifier: Apache-2.0

"""A host whose clocks a test owns."""

from __future__ import annotations

import dataclasses

from healthcheck.host import drainrecord

EPOCH = 1.6e9


@dataclasses.dataclass
class Host:
    """Time as it passes, and what its clocks make of it.

    :ivar boot: seconds since it started
    :ivar boot_id: of this start
    :ivar wall: the time of day, which anybody may set
    """

    boot: float = 1000.0
    boot_id: str = 'first boot'
    wall: float = EPOCH

    @property
    def clocks(self) -> drainrecord.Clocks:
        return drainrecord.Clocks(lambda: self.boot, lambda: self.boot_id,
                                  lambda: self.wall)

    def pass_time(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds

    def restart(self) -> None:
        self.boot = 20.0
        self.boot_id += ', another boot'
