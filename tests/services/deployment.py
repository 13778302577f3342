# SPDX-License-Identifier: Apache-2.0

"""A service with its schema, its virtual host and its files, that runs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import pathlib

from tests.functional import servers
from tests.services import catalogue
from tests.services import deployed

PASSWORD = 'secret'  # of schemas that are gone with their server

DIRECTORIES = ('locks', 'images', 'staging')

# Seconds: what the formula promises, and time for a busy machine.
WITHIN = 90.0


class Backends:
    """The database server, the broker and the disk of all services.

    :param directory: what is in it stays to the end of the run
    """

    def __init__(self, mariadb: servers.MariaDB, rabbitmq: servers.RabbitMQ,
                 directory: pathlib.Path) -> None:
        self.mariadb = mariadb
        self.rabbitmq = rabbitmq
        self._directory = directory
        self._prepared: set[str] = set()

    def values(self, service: catalogue.Service) -> dict[str, str]:
        """What stands for ``{database}`` and others in a configuration."""
        name = service.project
        return {key: self.mariadb.url(schema, PASSWORD, schema)
                for key, schema in _schemas(service).items()} | {
            'queue': self.rabbitmq.url(name, PASSWORD, name),
            'directory': str(self._directory / name)}

    def prepare(self, service: catalogue.Service,
                make_tables: Callable[[], None]) -> None:
        """Make what the service needs, once for all ways of mounting."""
        name = service.project
        if name in self._prepared:
            return
        self._prepared.add(name)
        for directory in DIRECTORIES:
            (self._directory / name / directory).mkdir(parents=True)
        for schema in _schemas(service).values():
            self.mariadb.create_database(schema)
            self.mariadb.create_user(schema, PASSWORD, schema)
        self.rabbitmq.add_vhost(name)
        self.rabbitmq.add_user(name, PASSWORD)
        self.rabbitmq.set_permissions(name, name)
        make_tables()


def _schemas(service: catalogue.Service) -> dict[str, str]:
    name = service.project
    return {'database': name, 'api_database': f'{name}_api'}


class Deployment:
    """A service as its deployer has it.

    :param directory: its files below /etc
    :ivar api: the server; not started
    """

    def __init__(self, backends: Backends, service: catalogue.Service,
                 way: catalogue.Way, directory: pathlib.Path) -> None:
        self.backends = backends
        self.service = service
        self.way = way
        self.values = backends.values(service)
        self.etc = deployed.Etc(directory, service.project)
        self._configure()
        self._others: list[deployed.Program] = []
        self.api = self._api()

    def close(self) -> None:
        for one in (*self._others, self.api):
            one.close()

    def prepare(self) -> None:
        """Make what it needs, unless an earlier test has."""
        self.backends.prepare(self.service, self._make_tables)

    def program(self, *arguments: str) -> deployed.Program:
        """Start another process of the service."""
        one = deployed.Program(self.etc, arguments)
        self._others.append(one)
        one.start()
        return one

    def says(self, status: int, text: str) -> None:
        """Ask until all workers, most likely, say so."""
        said: list[tuple[int, str]] = []

        def agreed() -> bool:
            said[:] = [(one.status, one.text) for one in self.api.answers()]
            return set(said) == {(status, text)}

        try:
            servers.wait_until(agreed, f'{status} {text!r}', WITHIN, 0.2)
        except servers.ServerError as error:
            raise AssertionError(
                f'{error}; said: {said[-1]}\n{self.api.log_tail(60)}'
            ) from None

    def _configure(self) -> None:
        service, way = self.service, self.way
        own: dict[str, object] = dict(deployed.QUICK)
        if not way.in_paste:
            own['backends'] = ','.join(service.backends)
        sections: dict[str, dict[str, object]] = {'healthcheck': own}
        for source in (service.sections, way.sections):
            for name, values in source.items():
                sections.setdefault(name, {}).update(self._filled(values))
        self.etc.write(service.config, sections)
        for name, more in service.more.items():
            self.etc.write(name, more)
        for edit in way.edits:
            self.etc.edit(*edit)
        for name, lines in way.appended.items():
            self.etc.append(name, lines)

    def _filled(self, values: Mapping[str, object]) -> dict[str, object]:
        return {key: value.format_map(self.values)
                if isinstance(value, str) else value
                for key, value in values.items()}

    def _api(self) -> deployed.API:
        service = self.service
        if not self.way.wrapped:
            return deployed.API(self.etc, service.module, {})
        variables = {'HEALTHCHECK_APP': service.module}
        if service.file:
            variables['HEALTHCHECK_CONFIG_FILES'] = (
                f'/etc/{service.project}/{service.file}')
        return deployed.API(self.etc, 'healthcheck.wsgi', variables)

    def _make_tables(self) -> None:
        for name, *arguments in self.service.prepare:
            runner = deployed.Program(self.etc, [name])
            self._others.append(runner)
            runner.run(self.etc.inside([
                deployed.program(name), *(
                    one.format_map(self.values) for one in arguments)]))
