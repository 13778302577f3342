# SPDX-License-Identifier: Apache-2.0

"""Rows of cell_mappings, and what Nova's templates give."""

from __future__ import annotations

from collections.abc import Iterator
import traceback

from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
import pytest
import sqlalchemy

from healthcheck.cells import mappings

UUID = '8fbbc3c5-91d6-4f1a-9d4c-9e7d1e6b7c10'
DATABASE = 'mysql+pymysql://nova:sesame@db.Example:3306/nova?charset=utf8#x'
HOSTS = ('rabbit://Mq1,two:sec%40nd@Mq2:5671,three:third@[fd00::3]:5672'
         '//vhost?ssl=1')

# A piece of these is like nothing that an error says.
SECRETS = st.text(st.sampled_from('{}:!.[]0%/,@é\x00 '), max_size=8).map(
    lambda text: f'Zq7{text}Xv2')
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from((
        '{', '}', '{{', '}}', '{scheme}', '{username}', '{password}',
        '{hostname}', '{port}', '{path}', '{query}', '{fragment}',
        '{hostname1}', '{port2}', '{hostname3}', '{hostname.__class__}',
        '{hostname[0]}', '{hostname!r}', '{port:>9}', '{port:{port}}', '{0}',
        '{}', '{zq}', '{__class__}', '://', ':', '@', ',', '/', '[', ']',
        'rabbit', 'none', 'h', '1', '\ud800')), max_size=12).map(''.join))


def mapping(database: str | None = None, transport: str | None = None,
            uuid: str = UUID, name: str | None = 'east') -> mappings.Mapping:
    return mappings.Mapping(uuid, name, transport, database, False)


def database(template: str | None, default: str | None = DATABASE) -> str:
    return mappings.Templates(default, None).database(mapping(template))


def transport(template: str | None, default: str | None = HOSTS) -> str:
    return mappings.Templates(None, default).transport(
        mapping(transport=template))


# -- rows ---------------------------------------------------------------

@pytest.fixture
def connection() -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine('sqlite://')
    with engine.connect() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE cell_mappings (created_at DATETIME, '
            'id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL, '
            'name VARCHAR(255), transport_url TEXT, '
            'database_connection TEXT, disabled BOOLEAN)')
        yield connection
    engine.dispose()


def test_rows_are_read_as_they_are(connection: sqlalchemy.Connection) -> None:
    for row in [(3, 'third', 'c', 'none:///', 'x', 0),
                (1, mappings.CELL0, None, None, '', None),
                (2, UUID, '', 'rabbit://{x}', None, 1)]:
        connection.exec_driver_sql(
            'INSERT INTO cell_mappings (id, uuid, name, transport_url, '
            'database_connection, disabled) VALUES (?, ?, ?, ?, ?, ?)', row)
    read = mappings.read(connection)
    assert read == [
        mappings.Mapping(mappings.CELL0, None, None, '', False),
        mappings.Mapping(UUID, '', 'rabbit://{x}', None, True),
        mappings.Mapping('third', 'c', 'none:///', 'x', False)]
    assert [one.disabled for one in read] == [False, True, False]
    assert [one.is_cell0 for one in read] == [True, False, False]
    assert [one.title for one in read] == [mappings.CELL0, UUID, 'c']


def test_the_name_of_a_cell_forges_no_line() -> None:
    named = mappings.Mapping(UUID, 'c1\n2026 ERROR \u202ex', None, None, False)
    assert named.title == 'c1\\n2026 ERROR \\u202ex'


def test_one_statement_is_enough(connection: sqlalchemy.Connection) -> None:
    statements = []
    sqlalchemy.event.listen(
        connection, 'before_cursor_execute',
        lambda *args: statements.append(args[2]))
    assert mappings.read(connection) == []
    statement, = statements
    assert 'ORDER BY id' in statement
    assert 'created_at' not in statement


def test_a_row_does_not_show_its_secrets() -> None:
    shown = repr(mapping('mysql://u:Zq7@h/d', 'rabbit://u:Zq7@h/'))
    assert 'Zq7' not in shown
    assert UUID in shown


# -- templates ----------------------------------------------------------

@pytest.mark.parametrize('template, filled', [
    ('{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}'
     '#{fragment}',
     'mysql+pymysql://nova:sesame@db.example:3306/nova?charset=utf8#x'),
    ('{scheme}://{username}:{password}@other/nova_cell0?{query}',
     'mysql+pymysql://nova:sesame@other/nova_cell0?charset=utf8'),
    ('sqlite:///x/{path}{path}', 'sqlite:///x/novanova'),
    ('mysql://u:p%7B@h/d', 'mysql://u:p%7B@h/d'),
    ('mysql://u:{{p}}@h/{path}', 'mysql://u:{p}@h/nova'),
    ('mysql://u:{{username}}@h/d', 'mysql://u:{username}@h/d'),
    ('mysql://{hostname:}/d', 'mysql://db.example/d')])
def test_a_template_is_filled(template: str, filled: str) -> None:
    assert database(template) == filled


def test_nothing_is_decoded_and_nothing_filled_twice() -> None:
    assert database('a://{password}@{hostname}/{path}',
                    'a://u:%7Bpath%7D{path}@h//d%2F') == (
        'a://%7Bpath%7D{path}@h/d%2F')


def test_what_a_default_lacks_is_none_in_letters() -> None:
    """As with Nova, whose str.format makes that of None."""
    template = ('x://{scheme};{username};{password};{hostname};{port};{path};'
                '{query};{fragment}')
    assert database(template, 'mysql:') == 'x://mysql;None;None;None;None;;;'
    assert database(template, '') == 'x://;None;None;None;None;;;'
    assert database(template, 'mysql://u@h') == (
        'x://mysql;u;None;h;None;;;')


def test_several_hosts() -> None:
    numbered = ('rabbit://{username%d}:{password%d}@{hostname%d}:{port%d}/'
                '{path}?{query}')
    # The first one has neither credentials nor a port.
    assert transport(numbered % ((1,) * 4)) == (
        'rabbit://:None@Mq1:None/vhost?ssl=1')
    assert transport(numbered % ((2,) * 4)) == (
        'rabbit://two:sec%40nd@Mq2:5671/vhost?ssl=1')
    assert transport(numbered % ((3,) * 4)) == (
        'rabbit://three:third@fd00::3:5672/vhost?ssl=1')


def test_a_host_with_a_user_and_no_password() -> None:
    assert transport('a://{username2}{password2}',
                     'rabbit://a:b@c,d@e/') == 'a://dNone'


def test_an_at_in_a_password_of_several_hosts() -> None:
    """Nova splits at the first one, and urlparse at the last."""
    assert transport('a://{password1};{hostname1}',
                     'rabbit://a:b@c@h,d:e@i/') == 'a://b;c@h'


def test_one_host_has_no_number() -> None:
    with pytest.raises(mappings.BadMapping, match='variable 2 is unknown'):
        transport('rabbit://{hostname}{hostname1}/', 'rabbit://h/')


def test_each_column_has_its_own_default() -> None:
    templates = mappings.Templates('mysql://db', 'rabbit://mq')
    both = mapping('a://{hostname}', 'b://{hostname}')
    assert templates.database(both) == 'a://db'
    assert templates.transport(both) == 'b://mq'


@pytest.mark.parametrize('default', [
    None, DATABASE, HOSTS, 'rabbit://a:b@c:1,d:2/', 'x://h:port/'])
@pytest.mark.parametrize('url', [
    'mysql://u:p@h/d', 'mysql://u:pa{ss@h/d', 'mysql://u:pa}ss@h/d',
    'mysql://u:pa{ss}@h/d', 'mysql://u:{0}{}@h/d', 'mysql://{u}:p@h/d',
    'rabbit://u:p@h,v:p{}@i/', 'mysql://u:{hostnames}@h/d',
    'mysql://u:p@h/d?x=}'])
def test_a_url_that_is_no_template_is_used_as_it_is(
        url: str, default: str | None) -> None:
    assert database(url, default) == url


# -- what is no good ----------------------------------------------------

@pytest.mark.parametrize('template, default, text', [
    (None, DATABASE, 'database_connection is empty'),
    ('', DATABASE, 'database_connection is empty'),
    ('h/d', DATABASE, 'database_connection has no scheme'),
    ('mysql:h/d', DATABASE, 'database_connection has no scheme'),
    ('://h/d', DATABASE, 'database_connection has no scheme'),
    (' mysql://h/d', DATABASE, 'database_connection has no scheme'),
    ('{scheme}://h/d', '//h', 'database_connection has no scheme'),
    ('{{x}}://h/d', DATABASE, 'database_connection has no scheme'),
    ('a://{hostname}/', None, 'database_connection: it is a template, but '
     '[database]connection is not set'),
    ('a://{hostname}/', 'a://h:port/', 'database_connection: it is a '
     'template, but [database]connection cannot be parsed'),
    ('a://{hostname}/', 'a://[h/', 'database_connection: it is a '
     'template, but [database]connection cannot be parsed'),
    ('a://{hostname}/', 'a://u:p@h1:1,h2:2/', 'database_connection: it is a '
     'template, but [database]connection cannot be parsed'),
    ('a://{path}/', 'a://u:p@h1:x,u:p@h2:2/', 'database_connection: it is a '
     'template, but [database]connection cannot be parsed'),
    ('a://u:{hostname}@h/', None, 'database_connection: it is a template, '
     'but [database]connection is not set'),
    ('a://{hostname/', DATABASE, 'database_connection: it is no well-formed '
     'template; write literal { as %7B and } as %7D'),
    ('a://{hostname}}/', DATABASE, 'database_connection: it is no well-formed '
     'template; write literal { as %7B and } as %7D')])
def test_the_reason(template: str | None, default: str | None,
                    text: str) -> None:
    with pytest.raises(mappings.BadMapping) as caught:
        database(template, default)
    assert str(caught.value) == text


@pytest.mark.parametrize('field', [
    '{host}', '{0}', '{}', '{ hostname}', '{hostname4}', '{hostname01}',
    '{hostname-}', '{__class__}', '{Hostname}'])
def test_an_unknown_variable_is_counted_not_named(field: str) -> None:
    with pytest.raises(mappings.BadMapping) as caught:
        transport(f'a://{{{{}}}}{{path}}{field}{{path}}/')
    with pytest.raises(mappings.BadMapping, match='variable 1 is unknown'):
        transport(f'a://u:p@{field}/')
    assert str(caught.value) == (
        'transport_url: variable 2 is unknown, or of a host that '
        '[DEFAULT]transport_url does not have')


@pytest.mark.parametrize('template', ['a://{}/', 'a://u:{}@h/'])
@pytest.mark.parametrize('field', [
    'hostname.__class__', 'hostname.__class__.__mro__', 'hostname[0]',
    'hostname!r', 'hostname!s', 'hostname:s', 'port:>1000000000',
    'hostname!r:>1000000000', 'port:{port}', 'hostname.'])
def test_nothing_is_evaluated(template: str, field: str) -> None:
    with pytest.raises(mappings.BadMapping) as caught:
        database(template.format(f'{{{field}}}'))
    assert str(caught.value) == (
        'database_connection: variable 1 is more than a plain name')


# -- queues -------------------------------------------------------------

@pytest.mark.parametrize('uuid, url, has', [
    (UUID, 'rabbit://h/', True), (UUID, '{scheme}://{hostname}', True),
    (UUID, 'none:///', False), (UUID, 'none', False),
    (mappings.CELL0, 'none:///', False),
    (mappings.CELL0, 'rabbit://h/', False), (mappings.CELL0, None, False),
    # Of these the missing URL is to be told.
    (UUID, None, True), (UUID, '', True)])
def test_who_has_a_queue(uuid: str, url: str | None, has: bool) -> None:
    one = mapping(transport=url, uuid=uuid)
    assert mappings.has_queue(one) is has
    if not has:
        with pytest.raises(mappings.BadMapping):
            mappings.Templates(None, HOSTS).transport(one)


def test_a_template_may_come_out_without_a_queue() -> None:
    with pytest.raises(mappings.BadMapping, match='names no message queue'):
        transport('{scheme}:///', 'none:///')


# -- whatever there may be ----------------------------------------------

def everything_said(error: mappings.BadMapping) -> str:
    assert error.__context__ is None
    assert error.__cause__ is None
    return ''.join((str(error), repr(error),
                    *traceback.format_exception_only(error)))


@given(TEXTS, st.none() | TEXTS)
@example('{' * 10000, DATABASE)
@example('{hostname}', 'a://h:' + '9' * 10000)
@example('{hostname}', 'a://u:p@[,v:q@]')
def test_filling_fails_in_one_way_only(url: str, default: str | None) -> None:
    templates = mappings.Templates(default, default)
    for fill in (templates.database, templates.transport):
        try:
            assert '://' in fill(mapping(url, url))
        except mappings.BadMapping as exc:
            everything_said(exc)


@given(st.sampled_from((
    '{secret}', 'a://{secret}', 'a://u:{secret}@h/d', 'a://u:{secret}@{{x}}/',
    'a://{secret}@{{hostname}}/', 'a://u:{secret}@{{hostname!r}}',
    'a://{{{secret}}}/', '{{{secret}}}', 'a://h?password={secret}}}',
    'a://{{hostname.{secret}}}', 'a://{{hostname!{secret}}}',
    'a://{{hostname:{secret}}}', 'a://u:p@{{hostname}}:{{port{secret}}}')),
    st.sampled_from((
        None, '{secret}', 'a://u:{secret}@h/d', 'a://u:p@h:{secret}/',
        'a://[{secret}/', 'a://u:{secret}@h:1,v:{secret}@i:2/',
        'a://u:p@h:{secret},v:q@i:2', 'a://u:p@[{secret},v:q@i:2')),
    SECRETS)
def test_no_secret_is_told(template: str, default: str | None,
                           secret: str) -> None:
    if default is not None:
        default = default.format(secret=secret)
    url = template.format(secret=secret)
    templates = mappings.Templates(default, default)
    row = mapping(url, url)
    shown = [repr(row), repr(templates), repr(vars(templates))]
    for fill in (templates.database, templates.transport):
        try:
            fill(row)
        except mappings.BadMapping as exc:
            shown.append(everything_said(exc))
    for text in shown:
        assert 'Zq7' not in text
        assert 'Xv2' not in text
