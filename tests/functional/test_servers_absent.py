# SPDX-License-Identifier: Apache-2.0

"""A server that does not start fails one test, not all that need it."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from tests.functional.servers import wsgi

SERVER = """
import pytest

from tests.functional.servers import process


class Server(process.Server):
    name = 'absent'

    def command(self):
        with open({starts!r}, 'a+') as starts:
            starts.seek(0)
            number = len(starts.readlines())
            print('once', file=starts)
        if number < {healthy}:
            return ['sh', '-c', 'touch ready; exec sleep 60']
        return ['sh', '-c', 'echo the reason; exit 3']

    def ready(self):
        return (self.directory / 'ready').exists()


@pytest.fixture(scope={scope!r})
def server():
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.close()
"""

TESTS = """
@pytest.mark.parametrize('number', range(4))
def test_{name}(server, number):
    pass


def test_{name}_in_its_body():
    with Server():
        pass


def test_{name}_needs_nothing():
    pass
"""


def run(directory: pathlib.Path, *arguments: str, healthy: int = 0,
        scope: str = 'session') -> tuple[dict[str, int], str]:
    """Run tests; how many ended how, and what is printed.

    :param healthy: how often the server starts, before it does no more
    """
    server = SERVER.format(starts=str(directory / 'starts'), scope=scope,
                           healthy=healthy)
    for name in ('one', 'other'):
        (directory / f'test_{name}.py').write_text(
            server + TESTS.format(name=name))
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-rs', '-p',
         'tests.functional.conftest', '-p', 'no:cacheprovider',
         '--rootdir', str(directory), *arguments, str(directory)],
        cwd=wsgi.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    assert done.returncode == 1, done.stdout
    *_, last = done.stdout.splitlines()
    return {word: int(number) for number, word in re.findall(
        r'(\d+) (passed|failed|error|skipped)', last)}, done.stdout


@pytest.mark.parametrize('scope', ['function', 'session'])
def test_one_says_so(scope: str, tmp_path: pathlib.Path) -> None:
    ended, printed = run(tmp_path, '-p', 'no:randomly', scope=scope)
    assert ended == {'passed': 2, 'error': 1, 'skipped': 9}
    assert 'the reason\n' in printed
    assert 'absent does not start: see ' in printed
    assert (tmp_path / 'starts').read_text().split() == ['once']


def test_each_process_of_a_run_says_so(tmp_path: pathlib.Path) -> None:
    ended, _ = run(tmp_path, '-n', '2', '--dist', 'loadfile')
    # In random order it may be a failure, of the body.
    failed = ended.pop('failed', 0) + ended.pop('error', 0)
    assert (failed, ended) == (2, {'passed': 2, 'skipped': 8})


def test_one_that_has_started_fails_every_test(tmp_path: pathlib.Path) -> None:
    ended, _ = run(tmp_path, '-p', 'no:randomly', '-k', 'test_one',
                   healthy=1, scope='function')
    assert ended == {'passed': 2, 'error': 3, 'failed': 1}


def test_another_error_of_a_shared_fixture(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'test_fixture.py').write_text(
        'import pytest\n'
        "@pytest.fixture(scope='module')\n"
        'def broken(): raise ValueError("the reason")\n'
        "@pytest.mark.parametrize('number', range(4))\n"
        'def test_it(broken, number): pass\n')
    ended, _ = run(tmp_path, '-k', 'test_it')
    assert ended == {'error': 1, 'skipped': 3}
