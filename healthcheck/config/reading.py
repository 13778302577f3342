# SPDX-License-Identifier: Apache-2.0

"""Reads the service's configuration before the service has registered it.

We often read an option before the service has registered it. If we registered
it there ourselves, that could clash with what the service registers later. So
we read it in a configuration of our own that has the service's sources: its
files as it has read them and in its order, its command line, its overrides in
code, the environment and oslo.config's drivers.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
import contextlib
import glob
import os
from typing import Any

from oslo_config import cfg

from healthcheck.config import redact
from healthcheck import exceptions

# Locations of values that come from a service's code, not from an operator.
_DEFAULTS = (cfg.Locations.opt_default, cfg.Locations.set_default)


class _Unresolved(cfg.TemplateSubstitutionError):
    """A ``$name`` refers to an option that has no value anywhere."""

    def __init__(self, name: str) -> None:
        super().__init__(f'${name} is not known')
        self.name = name


class Private(cfg.ConfigOpts):
    """A configuration with the service's sources, and options of its own.

    An option that the service has registered is the service's, with its
    overrides. An option registered here stays here, so a library can use this
    in place of the service's configuration. A ``$name`` in a value is looked
    up in all sources, too, wherever it is registered.

    :param service: the service's configuration, as it is now
    """

    def __init__(self, service: cfg.ConfigOpts) -> None:
        super().__init__()
        self._service = service
        self._namespace = service._namespace
        self._mutable_ns = service._mutable_ns
        self._sources = service._sources
        self._use_env = service._use_env
        for name in ('project', 'prog', 'version'):
            if name in vars(service):
                setattr(self, name, getattr(service, name))

    # oslo.config's record of an option: how to read it, and its value set in
    # code. Writes to it stay here.
    def _get_opt_info(self, opt_name: str, group: Any = None) -> Any:
        known: list[Any] = []
        for find in (super()._get_opt_info, self._service._get_opt_info):
            with contextlib.suppress(cfg.NoSuchOptError,
                                     cfg.NoSuchGroupError):
                known.append(find(opt_name, group))
        if not known:
            raise cfg.NoSuchOptError(opt_name, group)
        return collections.ChainMap(*known)

    def have(self, group: str | None, opt: cfg.Opt) -> None:
        """Make sure that an option can be read."""
        try:
            self._get_opt_info(opt.dest, group)
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
            self.register_opt(opt, group=group)

    class StrSubWrapper(cfg.ConfigOpts.StrSubWrapper):
        """Looks up the value of a ``$name``."""

        def __getitem__(self, key: str) -> Any:
            try:
                return super().__getitem__(key)
            except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
                pass
            group, dot, name = key.partition('.')
            places = [(group, name)] if dot else [
                (getattr(self.group, 'name', self.group), key), (None, key)]
            place: Any
            for place, name in places:
                private = Private(self.conf._service)
                private.have(place, cfg.StrOpt(name))
                value = private._get(name, place)
                if value is not None:
                    return value
            raise _Unresolved(key)


class _Verbatim(Private):
    """Returns the text of an option, with each ``$name`` left in it."""

    def _get_opt_info(self, opt_name: str, group: Any = None) -> Any:
        return cfg.ConfigOpts._get_opt_info(self, opt_name, group)

    def _substitute(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


def option(private: Private, group: str | None,
           opt: cfg.Opt) -> tuple[Any, cfg.LocationInfo | None]:
    """(value of an option, where it is set); None for each if it is unset.

    :param private: a fresh one, because it remembers values
    :param opt: how to read the option if the service has not registered it
    :raises ValueError: if the value is not of the option's type
    :raises exceptions.ConfigError: if it refers to an option that is not set
    """
    private.have(group, opt)
    try:
        value = private._get(opt.dest, group)
        # oslo.config loses the override if a default is set after it.
        if 'override' in private._get_opt_info(opt.dest, group):
            return value, cfg.LocationInfo(cfg.Locations.set_override, '')
        return value, private.get_location(opt.dest, group)
    except _Unresolved as exc:
        missing: str | None = exc.name
    except (cfg.TemplateSubstitutionError, RecursionError):
        missing = None
    raise exceptions.ConfigError([
        _unresolved(private._service, group, opt, missing)])


def is_configured(where: cfg.LocationInfo | None) -> bool:
    """Whether a value is more than a default in code."""
    return where is not None and where.location not in _DEFAULTS


def text(service: cfg.ConfigOpts, group: str | None, name: str,
         ) -> tuple[str | None, cfg.LocationInfo | None]:
    """An option's text in the sources, with each ``$name`` left in it.

    :return: (text, where it is set); None for each if it is unset
    """
    private = _Verbatim(service)
    private.have(group, cfg.StrOpt(name))
    return private._get(name, group), private.get_location(name, group)


def everything(service: cfg.ConfigOpts) -> Iterator[object]:
    """All that the service may read, for a digest. It contains secrets."""
    namespace = service._namespace
    # The contents of each file, the last file first.
    yield from namespace._normalized if namespace is not None else []
    if service._use_env:
        yield sorted((name, value) for name, value in os.environ.items()
                     if name.startswith('OS_') and '__' in name)
    private = Private(service)
    for info, group in service._all_opt_infos():
        name = info['opt'].dest
        place = group.name if group else None
        if isinstance(info['opt'], cfg.SubCommandOpt) or (
                place is None and name in ('config_file', 'config_dir')):
            continue
        try:
            where = private.get_location(name, place)
            value = repr(private._get(name, place))
        except (cfg.Error, ValueError, RecursionError):
            continue  # useless to everybody; its text is among the files
        if where is not None and where.location not in (
                *_DEFAULTS, cfg.Locations.user, cfg.Locations.environment):
            yield place, name, value


def files(service: cfg.ConfigOpts) -> list[str]:
    """The configuration files of a service, those of directories last."""
    def told(name: str) -> list[str]:
        try:
            return list(service[name] or [])
        except cfg.NoSuchOptError:  # it does not know its files yet
            return []
    # Of the files on the command line, the option only has the last one.
    dirs = service.config_dirs or told('config_dir')
    return [*told('config_file'), *(
        path for directory in dirs for path in sorted(
            glob.glob(os.path.join(os.path.expanduser(directory), '*.conf'))))]


def _unresolved(service: cfg.ConfigOpts, group: str | None, opt: cfg.Opt,
                missing: str | None) -> str:
    name = f'[{group or "DEFAULT"}]{opt.dest}'
    where = ', '.join(files(service)) or 'no file'
    value = text(service, group, opt.dest)[0] or ''
    if missing is None:
        return (f'{name}: a $name in it refers to itself or to a whole group '
                f'(allowed: the name of another option)')
    # The $ may be part of a password, so nothing after it is shown.
    secrets = redact.secrets_of(value) if '://' in value or not opt.secret \
        else [value]
    if any(spelt in secret for secret in secrets
           for spelt in (f'${missing}', f'${{{missing}}}')):
        return (f'{name}: a $ in it is followed by something that is not an '
                f'option of {where} (allowed: $$ for a $ that is part of a '
                f'password)')
    return (f'{name} refers to ${missing}, which is not set in {where} (set '
            f'{missing} there, or write its value in place of ${missing})')
