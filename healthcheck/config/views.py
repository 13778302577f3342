# SPDX-License-Identifier: Apache-2.0

"""The configuration of one paste section, and of the service below it.

A paste section's options count for that section alone. oslo.middleware
writes them into the shared ``cfg.CONF``, where the next section inherits
them. Here they stay in a view. Plugins get the view in place of the service's
configuration, and nothing is ever written to the latter.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import difflib
import math
import types
from typing import Any

from oslo_config import cfg

from healthcheck.config import entrypoints
from healthcheck.config import opts
from healthcheck.config import reading
from healthcheck.config import settings
from healthcheck import exceptions

# The keys of a section that oslo.middleware uses to find the configuration.
PROJECT_KEYS = ('oslo_config_project', 'oslo_config_file',
                'oslo_config_program')


def service_conf(section: Mapping[str, Any]) -> cfg.ConfigOpts:
    """The service's configuration, found the way oslo.middleware finds it.

    That is ``cfg.CONF``, unless the section names a project.
    """
    if 'oslo_config_project' not in section:
        return cfg.CONF
    conf = cfg.ConfigOpts()
    files = section.get('oslo_config_file')
    conf([], project=section['oslo_config_project'],
         prog=section.get('oslo_config_program'),
         default_config_files=[files] if files else None,
         validate_default_values=True)
    return conf


class View:
    """The service's configuration as one section sees it.

    A plugin can use it in place of a ``ConfigOpts``. Group ``healthcheck``
    answers from the section first; everything else is the service's.

    :ivar healthcheck: the values of the group, those of options that plugins
        register included, resolved once, so a read is only an attribute
        access
    :ivar settings: the values of our own options, typed
    :ivar private: a library that registers options where it reads them gets
        this in place of the service's configuration
    :ivar problems: the errors so far, one line each
    :ivar notes: the values that probes use, apart from the group
    :ivar foreign: whether a foreign plugin has the view; what that reads, and
        where, cannot be noted
    """

    def __init__(self, conf: cfg.ConfigOpts,
                 section: Mapping[str, Any]) -> None:
        self.service = conf
        self.section = dict(section)
        self.healthcheck = types.SimpleNamespace()
        self.private = reading.Private(conf)
        self.problems: list[str] = []
        self.notes: dict[str, str] = {}
        self.foreign = False
        self._known: dict[str, cfg.Opt] = {}
        self.register_opts(opts.all_opts(), group=opts.GROUP)
        self.settings = settings.Settings.of(vars(self.healthcheck))

    @property
    def options(self) -> Mapping[str, cfg.Opt]:
        """Every option of group ``healthcheck`` that is read, by name."""
        return types.MappingProxyType(self._known)

    @property
    def project(self) -> str | None:
        """The service's name for oslo.config; None if it is not known."""
        return (self.section.get('oslo_config_project')
                or vars(self.service).get('project'))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.service

    def register_opt(self, opt: cfg.Opt, group: Any = None,
                     **kwargs: Any) -> bool:
        registered = False
        with contextlib.suppress(cfg.DuplicateOptError):
            # If the service has its own option of that name, it keeps it: its
            # value is what the operator means by the name.
            registered = self.service.register_opt(opt, group=group, **kwargs)
        if str(getattr(group, 'name', group)) == opts.GROUP:
            self._known[opt.dest] = opt
            setattr(self.healthcheck, opt.dest, self._resolve(opt))
        return bool(registered)

    def register_opts(self, opts: Iterable[cfg.Opt], group: Any = None,
                      **kwargs: Any) -> None:
        for opt in opts:
            self.register_opt(opt, group=group, **kwargs)

    def set_override(self, name: str, override: Any,
                     group: Any = None) -> None:
        """Do nothing: a plugin only wants to set the section's value.

        oslo.middleware's plugins copy their section into the configuration
        before they read it; the view answers from the section anyway.
        """

    def note(self, name: str, value: object) -> None:
        """Note a value that a probe uses: workers share if all are equal.

        Values read with :func:`service_option` are noted there.

        :param value: its ``str`` is the same in each process
        """
        self.notes[name] = str(value)

    def note_options(self, group: str | None,
                     options: Iterable[cfg.Opt]) -> None:
        """Note the service's values of options that a library reads.

        :raises healthcheck.exceptions.ConfigError: if one refers to an
            option that is not set
        """
        private = reading.Private(self.service)
        for opt in options:
            with contextlib.suppress(ValueError):  # the library will say so
                self._read(private, group, opt)

    def note_plugin(self, name: str, kind: Any) -> None:
        """Note a plugin's code: another version may find something else.

        :param name: the plugin's name in an option
        :param kind: its class
        """
        module = getattr(kind, '__module__', '')
        self.note(f'plugin {name}', (
            module, getattr(kind, '__qualname__', ''),
            entrypoints.version_of(module)))
        if not entrypoints.is_ours(module):
            self.foreign = True

    def reject_unknown(self, names: Iterable[str], *,
                       foreign: bool = False) -> None:
        """Add a problem for each of ``names`` that is not an option.

        :param foreign: whether foreign plugins are loaded; a name that is not
            like one of our options may then be theirs
        """
        for name in names:
            if name in self._known or name in PROJECT_KEYS:
                continue
            near = difflib.get_close_matches(name, self._known, 1, 0.8)
            if near or not foreign:
                self.problems.append(
                    f'{name}: there is no such option' + (
                        f'; did you mean {near[0]}?' if near else ''))

    def check(self) -> None:
        """:raises exceptions.ConfigError: if anything is wrong."""
        if self.problems:
            raise exceptions.ConfigError(self.problems)

    def _read(self, private: reading.Private, group: str | None,
              opt: cfg.Opt) -> Any:
        """The value of a service's option. Notes it."""
        value, where = reading.option(private, group, opt)
        # Defaults in code do not count: it makes no difference to a probe
        # whether the service has registered the option by now.
        if reading.is_configured(where):
            self.note(spelt(group, opt.dest), value)
        return value

    def _resolve(self, opt: cfg.Opt) -> Any:
        """The section's value, else the service's, else the default."""
        own = opt.dest in self.section
        told = value = self.section.get(opt.dest)
        try:
            value = (opt.type(told) if own else
                     reading.option(reading.Private(self.service),
                                    opts.GROUP, opt)[0])
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError('Should be a finite number')
            return value
        except exceptions.ConfigError as exc:
            self.problems.extend(exc.problems)
        except ValueError as exc:
            self.problems.append(_not_valid(opt, told, exc) if own else
                                 self._not_valid(opt, value, exc))
        return opt.default

    def _not_valid(self, opt: cfg.Opt, value: Any, exc: ValueError) -> str:
        """The error for a value from the service's configuration."""
        told, place = reading.text(self.service, opts.GROUP, opt.dest)
        if told is not None:
            value = told
            try:
                opt.type(told)
            except ValueError as shorter:
                exc = shorter
        where = f'[{opts.GROUP}]'
        if place and place.location is cfg.Locations.environment:
            where = f'${place.detail}'
        return _not_valid(opt, value, exc, f' in {where}')


def _not_valid(opt: cfg.Opt, value: Any, exc: ValueError,
               where: str = '') -> str:
    return (f'{opt.dest} = {"***" if opt.secret else repr(value)}{where}: '
            f'{"not valid" if opt.secret else exc} '
            f'(allowed: {_allowed(opt)})')


def _allowed(opt: cfg.Opt) -> str:
    least = getattr(opt.type, 'min', None)
    most = getattr(opt.type, 'max', None)
    if least is not None and most is not None:
        return f'{least:g} to {most:g}'
    return str(opt.type).lower()


def service_option(conf: Any, group: str | None, name: str, *,
                   multi: bool = False) -> Any:
    """The value of an option that belongs to the service; None if unset.

    If the service has not registered it, for example because its database
    layer is not loaded yet, it is read as text, from all the service's
    sources. A view notes it.

    :param multi: whether the option may be set many times
    :raises ValueError: if the value is not of the registered type
    :raises healthcheck.exceptions.ConfigError: if it refers to an option
        that is not set
    """
    opt = (cfg.MultiStrOpt if multi else cfg.StrOpt)(name)
    if isinstance(conf, View):
        return conf._read(reading.Private(conf.service), group, opt)
    return reading.option(reading.Private(conf), group, opt)[0]


def spelt(group: str | None, name: str) -> str:
    """The name of an option, for errors."""
    return f'[{group or "DEFAULT"}]{name}'
