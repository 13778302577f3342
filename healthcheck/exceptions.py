# SPDX-License-Identifier: Apache-2.0

"""Errors at load."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_middleware import exceptions


class ConfigError(exceptions.ConfigInvalid):
    """All mistakes of a section, in one readable error.

    A kind of oslo.middleware's ``ConfigInvalid``, so code that catches that
    catches ours.

    :ivar problems: one line for each mistake
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = ''.join(f'\n  - {problem}' for problem in self.problems)
        # Not through ConfigInvalid.__init__: in 6.3 to 8.2 it loses the text.
        Exception.__init__(
            self, f'The healthcheck configuration is not valid:{lines}')
