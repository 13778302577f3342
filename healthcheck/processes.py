# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a process has to make for itself, whenever it was forked."""

from __future__ import annotations

from collections.abc import Callable
import os
from typing import Any, Generic, TypeVar

T = TypeVar('T')


class PerProcess(Generic[T]):
    """One ``T`` for each process, made by whoever asks first in it.

    A server may fork at any moment, and uWSGI calls no ``register_at_fork``
    hook, so the process is asked for at each access. What was made before a
    fork is kept and not used: to let it go would close connections that the
    parent goes on using. There is no lock that a fork could inherit locked.

    :param make: makes a ``T`` that has started nothing yet: when two
        threads ask at once, two are made and one is dropped
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self, *args: Any) -> T:
        """The ``T`` of this process; ``args`` go to ``make``."""
        pid = os.getpid()
        made = self._made.get(pid)
        if made is None:
            made = self._made.setdefault(pid, self._make(*args))
        return made

    def peek(self) -> T | None:
        """The ``T`` of this process, if it has one."""
        return self._made.get(os.getpid())
