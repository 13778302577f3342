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

"""What a section of a paste file and the service's configuration say.

A paste section's options count for that section alone. oslo.middleware
writes them into the shared ``cfg.CONF``, where the next section inherits
them; here they stay in a view that plugins get in place of the service's
configuration, and nothing is ever written to that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import difflib
import types
from typing import Any

from oslo_config import cfg

from healthcheck import exceptions
from healthcheck import opts

# What oslo.middleware reads in a section to find the service's configuration.
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

    It stands in for a ``ConfigOpts`` where a plugin wants one: group
    ``healthcheck`` answers from the section first, everything else is the
    service's.

    :ivar healthcheck: the values of the group, resolved once, so that
        reading one costs an attribute access
    :ivar problems: what is wrong so far, a line for each thing
    """

    def __init__(self, conf: cfg.ConfigOpts,
                 section: Mapping[str, Any]) -> None:
        self.service = conf
        self.section = dict(section)
        self.healthcheck = types.SimpleNamespace()
        self.problems: list[str] = []
        self._known: dict[str, cfg.Opt] = {}
        self.register_opts(opts.all_opts(), group=opts.GROUP)

    @property
    def options(self) -> Mapping[str, cfg.Opt]:
        """Every option of group ``healthcheck`` that is read, by name."""
        return types.MappingProxyType(self._known)

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
            # A service that has one of that name of its own is left it; its
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
        """Do nothing: what a plugin wants set here is the section's value.

        oslo.middleware's plugins copy their section into the configuration
        before they read it; the view answers from the section anyway.
        """

    def reject_unknown(self, names: Iterable[str], *,
                       foreign: bool = False) -> None:
        """Note each of ``names`` that no option has.

        :param foreign: whether plugins of others are loaded; what looks
            like no option of ours may then be one of theirs
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

    def _resolve(self, opt: cfg.Opt) -> Any:
        """The section's value, else the service's, else the default."""
        name, where = opt.dest, ''
        if name in self.section:
            value = self.section[name]
        else:
            try:
                return self.service[opts.GROUP][name]
            except ValueError:
                value = _read_again(self.service, opts.GROUP, name)
                where = f' in [{opts.GROUP}]'
        try:
            return opt.type(value)
        except ValueError as exc:
            self.problems.append(
                f'{name} = {"***" if opt.secret else repr(value)}{where}: '
                f'{"not valid" if opt.secret else exc} '
                f'(allowed: {_allowed(opt)})')
            return opt.default


def _allowed(opt: cfg.Opt) -> str:
    least = getattr(opt.type, 'min', None)
    most = getattr(opt.type, 'max', None)
    if least is not None and most is not None:
        return f'{least:g} to {most:g}'
    return str(opt.type).lower()


def service_option(conf: Any, group: str | None, name: str) -> Any:
    """The value of an option that belongs to the service; None if unset.

    Where the service has registered it, it is asked. Where not, for example
    because its database layer is not loaded yet, the same configuration
    files are read once more in private: registering it for the service
    could clash with what the service registers later.
    """
    service = conf.service if isinstance(conf, View) else conf
    try:
        return service[group][name] if group else service[name]
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        pass
    return _read_again(service, group, name)


def database_url(view: View, own: str, group: str,
                 missing: str) -> tuple[str, str]:
    """(name of the option, URL) of a database of the service.

    :param own: our option for it, which comes first
    :param group: the service's, as oslo.db reads it: ``database``, or
        ``api_database`` in Nova
    :param missing: what is wrong if neither is set
    :raises healthcheck.exceptions.ConfigError: if neither is set
    """
    url: str | None = getattr(view.healthcheck, own)
    if url:
        return own, url
    url = service_option(view, group, 'connection')
    if not url:
        raise exceptions.ConfigError([
            f'{missing}; set [{group}]connection of the service, or {own}'])
    parameters = service_option(view, group, 'connection_parameters')
    if parameters:
        url += ('&' if '?' in url else '?') + parameters
    return f'[{group}]connection', url


def _read_again(service: cfg.ConfigOpts, group: str | None,
                name: str) -> str | None:
    """The text of an option in the service's files; None if unset."""
    private = cfg.ConfigOpts()
    private.register_opt(cfg.StrOpt(name, secret=True), group=group)
    try:
        files, dirs = service.config_file, service.config_dir
    except cfg.NoSuchOptError:  # it has not been told its files yet
        files, dirs = [], []
    private([], default_config_files=files or [],
            default_config_dirs=dirs or [])
    value: str | None = private[group][name] if group else private[name]
    return value
