# SPDX-License-Identifier: Apache-2.0

"""Threads that ask a service for something while a block runs."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typing_extensions


class Callers:
    """Starts some threads, and ends them with the block.

    :param acts: what each of them does until ``_over`` is set
    """

    def __init__(self, *acts: Callable[[], None]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=act) for act in acts]

    def __enter__(self) -> typing_extensions.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
