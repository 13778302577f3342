# SPDX-License-Identifier: Apache-2.0

"""How mod_wsgi finds the virtual environment of a service.

It asks ``access(2)`` for ``pyvenv.cfg``, which answers for the user of the
daemon processes.
"""

from __future__ import annotations

import sys

import pytest

from tests.functional import served
from tests.functional.servers import wsgi

PYTHON_PATH = (f'python-home={sys.base_prefix} python-path={{directory}}/venv/'
               f'lib/python{sys.version_info[0]}.{sys.version_info[1]}/'
               'site-packages')


class Unreadable(wsgi.Apache):
    """The environment is one for others only."""

    under_test = True

    def prepare(self) -> None:
        super().prepare()
        (self.venv / 'pyvenv.cfg').chmod(0)


class Refused(Unreadable):
    """It starts no interpreter, and says what the documentation quotes."""

    def ready(self) -> bool:
        return ('failed to get the Python codec of the filesystem encoding'
                in self.log.read_text())


@pytest.mark.parametrize(('kind', 'python'), [
    (wsgi.Apache, None), (wsgi.Apache, PYTHON_PATH),
    (Unreadable, PYTHON_PATH)], ids=['home', 'path', 'unreadable'])
def test_environment(kind: type[wsgi.Apache], python: str | None) -> None:
    with served.running(lambda: kind(served.files(), workers=2,
                                     python=python)) as running:
        assert running.first.text == served.WELL


def test_environment_that_its_user_cannot_read() -> None:
    server = Refused(served.files())
    try:
        server.start()
    finally:
        server.close()
