# SPDX-License-Identifier: Apache-2.0

"""Our filling of templates beside Nova's own, and our read of its table."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import json
import os
import re
import subprocess
from typing import Any

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest
import sqlalchemy

from healthcheck.cells import mappings
from tests.functional import databases
from tests.functional.servers import nova as nova_module

Ask = Callable[..., Any]

# Run by Nova's Python: answers each line of its input with one. Nova reads
# the two options in the module's CONF, and tells in its log only that it
# uses a template as it is.
SCRIPT = r'''
import json
import sys
import types

from nova.db.api import models
from nova.objects import cell_mapping
from sqlalchemy import schema
from sqlalchemy.dialects import registry


class Log:
    def error(self, *args):
        self.complained = True

    exception = error


def fill(url, default):
    cell_mapping.CONF = types.SimpleNamespace(
        transport_url=default,
        database=types.SimpleNamespace(connection=default))
    answer = []
    for name in ('format_db_url', 'format_mq_url'):
        cell_mapping.LOG = Log()
        filled = getattr(cell_mapping.CellMapping, name)(url)
        answer.append([filled, not hasattr(cell_mapping.LOG, 'complained')])
    return answer


def table(dialect):
    return str(schema.CreateTable(models.CellMapping.__table__).compile(
        dialect=registry.load(dialect)()))


for line in sys.stdin:
    what, *arguments = json.loads(line)
    print(json.dumps(globals()[what](*arguments)), flush=True)
'''

VARIABLES = ('scheme', 'username', 'password', 'hostname', 'port', 'path',
             'query', 'fragment')
WORDS = st.text(st.sampled_from('aZ09-._~%:/?#&=+;é '), max_size=6)
NAMES = st.text(st.sampled_from('aZ09-.%_'), max_size=6)

PASSWORDS = NAMES | st.sampled_from(('p@x', 'p%40x', 'p{x}'))


@pytest.fixture(scope='module')
def nova() -> Iterator[Ask]:
    """Ask a function of the script; see there."""
    with subprocess.Popen(
            [nova_module.program('python'), '-c', SCRIPT], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore',
                 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'}) as child:
        assert child.stdin and child.stdout

        def ask(*question: object) -> Any:
            assert child.stdin and child.stdout
            child.stdin.write(json.dumps(question) + '\n')
            child.stdin.flush()
            return json.loads(child.stdout.readline())
        yield ask
        child.stdin.close()


def ours(url: str, default: str | None) -> list[str | None]:
    """The same for both columns; None for a mapping that is bad."""
    templates = mappings.Templates(default, default)
    row = mappings.Mapping('u', None, url, url, False)
    answer: list[str | None] = []
    for fill in (templates.database, templates.transport):
        try:
            answer.append(fill(row))
        except mappings.BadMapping:
            answer.append(None)
    return answer


@st.composite
def netlocs(draw: st.DrawFn) -> str:
    hosts = []
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        userinfo = draw(st.one_of(
            st.just(''), NAMES.map('{}@'.format),
            st.builds('{}:{}@'.format, NAMES, PASSWORDS)))
        host = draw(NAMES | st.sampled_from(('[::1]', 'Db.Example', 'mq')))
        port = draw(st.just('') | st.integers(0, 65535).map(':{}'.format))
        hosts.append(userinfo + host + port)
    return ','.join(hosts)


DEFAULTS = st.builds(
    '{}://{}/{}{}{}'.format,
    st.sampled_from(('rabbit', 'mysql+pymysql', 'Postgresql')), netlocs(),
    NAMES | WORDS, st.just('') | WORDS.map('?{}'.format),
    st.just('') | WORDS.map('#{}'.format))
FIELDS = st.sampled_from([
    f'{{{name}}}' for name in (
        *VARIABLES, *(f'{name}{number}' for number in (1, 2, 3)
                      for name in VARIABLES[1:5]))])
TEMPLATES = st.lists(
    FIELDS | WORDS | st.sampled_from(('{{', '}}')), max_size=9).map(
        lambda pieces: 'rabbit://' + ''.join(pieces))
# Of what is evaluated, nothing that would take long: Nova does evaluate it.
PIECES = st.sampled_from((
    '{', '}', '{{', '}}', '{hostname}', '{username1}', '{password2}',
    '{hostname.__class__}', '{hostname[0]}', '{hostname!r}', '{port:>9}',
    '{port:}', '{port:{port}}', '{hostname.', '{0}', '{}', '{zq}', 'none',
    '://', ':', '@', ',', '/', '//', '[', ']', 'rabbit', 'h', '1'))
ANYTHING = st.text() | st.lists(PIECES, max_size=9).map(''.join) | st.lists(
    PIECES, max_size=9).map(lambda pieces: 'a://' + ''.join(pieces))


def test_what_nova_fills(nova: Ask) -> None:
    filled = 0

    @settings(max_examples=300)
    @given(TEMPLATES, DEFAULTS)
    def same(url: str, default: str) -> None:
        nonlocal filled
        for (theirs, is_filled), mine in zip(nova('fill', url, default),
                                             ours(url, default)):
            if is_filled:
                assert mine == theirs
                filled += theirs != url
            else:
                # Perhaps it is no template, and then it is used as it is.
                assert mine in (None, theirs)
    same()
    # Far below what is usual: it tells only that something was compared.
    assert filled > 40


@pytest.mark.parametrize('default', [
    'rabbit://a:p@x@H1:1,b:p%40x@H2:2//v%2F?q=%41#f',
    'rabbit://h1,b:{path}@[::1]:2,c@h3/', 'rabbit://:@,@/',
    'mysql+pymysql://u:p%7Bx@Db.Example:3306//nova?charset=utf8',
    'mysql://db/nova', 'sqlite:////x/y.db', ''])
def test_each_variable(nova: Ask, default: str) -> None:
    """What chance seldom brings about."""
    numbers = range(default.count(',') + 1 if ',' in default else 0)
    for name in (*VARIABLES, *(f'{name}{number + 1}' for number in numbers
                               for name in VARIABLES[1:5])):
        url = f'a://<{{{name}}}>'
        for (theirs, is_filled), mine in zip(nova('fill', url, default),
                                             ours(url, default)):
            assert is_filled
            assert mine == theirs


def test_whatever_there_is(nova: Ask) -> None:
    """Ours is Nova's or none, and none only for reasons that we name."""
    counts = {True: 0, False: 0}

    @settings(max_examples=600)
    @given(ANYTHING, st.none() | ANYTHING | DEFAULTS)
    def same(url: str, default: str | None) -> None:
        for (theirs, is_filled), mine in zip(nova('fill', url, default),
                                             ours(url, default)):
            counts[mine is None] += 1
            if mine is not None:
                assert mine == theirs
            elif is_filled:
                assert (not re.match(r'[a-zA-Z][\w+.-]*://', theirs)
                        or theirs.startswith('none')
                        or re.search(r'{\w+[.[!:]', url))
    same()
    assert min(counts.values()) > 25


@pytest.mark.parametrize('url', [
    'mysql://u:pa{ss@h/d', 'mysql://u:pa}ss@h/d', 'mysql://u:pa{ss}@h/d',
    'mysql://u:{0}{}@h/d', 'rabbit://u:p@h,v:p{x}@i/'])
@pytest.mark.parametrize('default', [None, 'mysql://u:p@h/d', 'x://h:port/'])
def test_a_brace_in_a_password(nova: Ask, url: str,
                               default: str | None) -> None:
    """Nova works with these, so they must not be called bad."""
    assert [text for text, _ in nova('fill', url, default)] == [url, url]
    assert ours(url, default) == [url, url]


@pytest.mark.parametrize('driver', [*databases.DRIVERS, 'sqlite'])
def test_rows_of_novas_own_table(nova: Ask, request: pytest.FixtureRequest,
                                 driver: str) -> None:
    dialect = driver.partition('+')[0]
    if dialect == 'sqlite':
        _read(sqlalchemy.create_engine('sqlite://'), nova('table', dialect))
        return
    server = request.getfixturevalue(
        {'mysql': 'mariadb'}.get(dialect, dialect))
    with databases.on(server, driver) as database:
        _read(sqlalchemy.create_engine(database.url()),
              nova('table', dialect))


def _read(engine: sqlalchemy.Engine, statement: str) -> None:
    insert = sqlalchemy.text(
        'INSERT INTO cell_mappings (id, uuid, name, transport_url, '
        'database_connection, disabled) VALUES (:a, :b, :c, :d, :e, :f)')
    rows = [(3, 'third', 'é', None, 'x://y', True),
            (1, mappings.CELL0, None, 'none:///', None, None),
            (2, 'second', '', 'x://{y}', '', False)]
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
            connection.execute(insert, [dict(zip('abcdef', row))
                                        for row in rows])
        with engine.connect() as connection:
            read = mappings.read(connection)
    finally:
        engine.dispose()
    assert read == [mappings.Mapping(*row[1:5], bool(row[5]))
                    for row in sorted(rows)]
    assert all(type(one.disabled) is bool for one in read)
