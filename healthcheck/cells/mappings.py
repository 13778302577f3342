# SPDX-License-Identifier: Apache-2.0

"""Nova's cell mappings: the rows, and the URLs that their templates give.

Nova itself is not imported. The rules are those of Nova 34, in
nova/objects/cell_mapping.py and nova/context.py. Docstrings say where this
module is stricter.
"""

from __future__ import annotations

import dataclasses
import re
import string
from urllib import parse

from oslo_utils import netutils
import sqlalchemy

from healthcheck.reports import lines

CELL0 = '00000000-0000-0000-0000-000000000000'

_MAX_TITLE = 200

# Nova's own order of rows.
_SELECT = sqlalchemy.table('cell_mappings', *map(sqlalchemy.column, (
    'uuid', 'name', 'transport_url', 'database_connection', 'disabled',
))).select().order_by(sqlalchemy.column('id'))

# The start of a field that names one of Nova's variables, even if the rest of
# the field is not allowed here.
_MEANT = re.compile(r'\{(?:scheme|path|query|fragment'
                    r'|(?:username|password|hostname|port)[0-9]*)\b')
_SCHEME = re.compile(r'[A-Za-z][\w+.-]*://')
# Credentials in front of a host.
_USERINFO = re.compile(r'(?<=[/,])[^/,@]*@')


class BadMapping(Exception):
    """A mapping gives no URL. The text is for admins and quotes no URL."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping:
    """A row of the API database's table cell_mappings."""

    uuid: str
    name: str | None
    transport_url: str | None = dataclasses.field(repr=False)
    database_connection: str | None = dataclasses.field(repr=False)
    disabled: bool

    @property
    def is_cell0(self) -> bool:
        return self.uuid == CELL0

    @property
    def title(self) -> str:
        """The cell's name for admins."""
        return lines.one(lines.text_of(self.name or self.uuid), _MAX_TITLE)


def read(connection: sqlalchemy.Connection) -> list[Mapping]:
    """All mappings, disabled ones too, oldest first.

    This begins a transaction if there is none. The caller has to end it, or
    MariaDB shows the same rows for ever on this connection.

    :raises sqlalchemy.exc.SQLAlchemyError: the database did not answer
    """
    # The column "disabled" may be NULL; Nova reads that as its default.
    return [Mapping(row[0], row[1], row[2], row[3], bool(row[4]))
            for row in connection.execute(_SELECT)]


def has_queue(mapping: Mapping) -> bool:
    """Whether the cell has a message queue of its own.

    ``nova-manage cell_v2 map_cell0`` writes ``none:///`` for cell0.
    nova.context.set_target_cell does not connect to URLs that begin with
    ``none``.
    """
    return not mapping.is_cell0 and not (
        mapping.transport_url or '').startswith('none')


class Templates:
    """Fills the URLs of mappings from the service's own, as Nova does.

    A part that the service's URL lacks becomes ``None``, as in Nova. If Nova
    cannot fill a template, it logs that and uses the template unchanged.
    Here, that is a bad mapping. An exception is a URL that is no template
    and only has a brace in its user or password: it is used unchanged.

    :param database: [database]connection of the service
    :param transport: its [DEFAULT]transport_url
    """

    def __init__(self, database: str | None, transport: str | None) -> None:
        self._database = _Filler('[database]connection', database)
        self._transport = _Filler('[DEFAULT]transport_url', transport)

    def database(self, mapping: Mapping) -> str:
        """The URL of the cell's database.

        :raises BadMapping: there is none
        """
        return self._database.fill('database_connection',
                                   mapping.database_connection)

    def transport(self, mapping: Mapping) -> str:
        """The URL of the cell's message queue; see :func:`has_queue`.

        :raises BadMapping: there is none
        """
        url = self._transport.fill('transport_url', mapping.transport_url)
        if mapping.is_cell0 or url.startswith('none'):
            raise BadMapping('transport_url names no message queue')
        return url


class _Filler:
    """Fills templates from one URL.

    :param option: the option that holds this URL, for messages
    """

    def __init__(self, option: str, default: str | None) -> None:
        self._option = option
        self._values: dict[str, str] = {}
        self._fault = ''
        if default is None:
            self._fault = f'{option} is not set'
            return
        try:
            self._values = {name: str(value)
                            for name, value in _variables(default).items()}
        except ValueError:
            self._fault = f'{option} cannot be parsed'

    def fill(self, column: str, url: str | None) -> str:
        if not url:
            raise BadMapping(f'{column} is empty')
        filled, fault = self._format(url)
        if fault and _is_literal(url):
            filled, fault = url, ''
        # Raised here, outside any handler: the context of the exception
        # could hold a part of a URL.
        if fault:
            raise BadMapping(f'{column}: {fault}')
        if not _SCHEME.match(filled):
            raise BadMapping(f'{column} has no scheme')
        return filled

    def _format(self, template: str) -> tuple[str, str]:
        """(the filled template, empty) or (empty, what is wrong with it).

        This is stricter than Nova. Nova uses str.format, which allows a
        conversion, a format, attributes and indices in a field. To evaluate
        these for text from a database is not safe, so only plain names are
        allowed.
        """
        if self._fault:
            return '', f'it is a template, but {self._fault}'
        try:
            pieces = list(string.Formatter().parse(template))
        except ValueError:
            return '', ('it is no well-formed template; write literal { as '
                        '%7B and } as %7D')
        filled = []
        # An unknown name may be a password, so messages give its number.
        number = 0
        for text, name, form, conversion in pieces:
            filled.append(text)
            if name is None:
                continue
            number += 1
            if form or conversion or '.' in name or '[' in name:
                return '', f'variable {number} is more than a plain name'
            if name not in self._values:
                return '', (f'variable {number} is unknown, or of a host '
                            f'that {self._option} does not have')
            filled.append(self._values[name])
        return ''.join(filled), ''


def _is_literal(url: str) -> bool:
    """Whether a URL with braces is not one of Nova's templates."""
    return not _MEANT.search(url) and '{' not in _USERINFO.sub('', url)


def _variables(default: str) -> dict[str, str | int | None]:
    """What Nova's templates can refer to; nothing is percent-decoded.

    :raises ValueError: the URL, or one of its hosts, cannot be parsed
    """
    url = parse.urlparse(default)
    values: dict[str, str | int | None] = {
        'scheme': url.scheme, 'username': url.username,
        'password': url.password, 'hostname': url.hostname,
        'port': url.port, 'path': url.path.lstrip('/'),
        'query': url.query, 'fragment': url.fragment}
    # Only oslo.messaging knows several hosts. With these, the plain names
    # hold what urlparse makes of the whole netloc, which is of little use.
    hosts = url.netloc.split(',')
    for index, netloc in enumerate(hosts if len(hosts) > 1 else (), 1):
        *userinfo, address = netloc.split('@', 1)
        username, colon, password = ''.join(userinfo).partition(':')
        hostname, port = netutils.parse_host_port(address)
        values |= {f'username{index}': username,
                   f'password{index}': password if colon else None,
                   f'hostname{index}': hostname, f'port{index}': port}
    return values
