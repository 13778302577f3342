# SPDX-License-Identifier: Apache-2.0

"""Which service a command is for, and that service's configuration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
import os
import re
from typing import Any
import warnings

from oslo_config import cfg
from oslo_log import log as logging
from paste.deploy import loadwsgi

from healthcheck.answers import page
from healthcheck.cmd import arguments
from healthcheck.config import redact
from healthcheck import exceptions
from healthcheck.serving import door as door_module

ERRORS = (cfg.Error, exceptions.ConfigError)
"""Exceptions of a configuration that cannot be used."""

_KINDS = {'filter': loadwsgi.FILTER, 'app': loadwsgi.APP}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group('which service')
    arguments.add_files(files)
    files.add_argument('--prog', metavar='NAME',
                       help='the program, such as nova-conductor, if it has '
                       'configuration files of its own')
    files.add_argument('--paste', metavar='FILE',
                       help='the paste file of the workers')
    files.add_argument('--section', default='filter:healthcheck',
                       help="the health check's section in that file, "
                       'filter:NAME or app:NAME (default: %(default)s)')


def check_arguments(parser: argparse.ArgumentParser,
                    args: argparse.Namespace) -> None:
    """Exit if they do not name a service."""
    if not (args.sources or args.project or args.paste):
        parser.error('which service? Give --config-file, --project or '
                     '--paste')
    kind, _, name = args.section.partition(':')
    if kind not in _KINDS or not name:
        parser.error(f'--section {args.section}: neither filter:NAME nor '
                     f'app:NAME')


def set_up_logging(prog: str, debug: bool) -> None:
    """Log to stderr."""
    # Not cfg.CONF: the service's options name the service's log file.
    conf = cfg.ConfigOpts()
    logging.register_options(conf)
    conf([], prog=prog, default_config_files=[], default_config_dirs=[])
    conf.set_default('use_stderr', True)
    conf.set_default('debug', debug)
    logging.setup(conf, prog)


def read_files(args: argparse.Namespace) -> None:
    """Read the service's configuration for the first time.

    :raises oslo_config.cfg.Error: if it cannot be read
    """
    # oslo.messaging imports oslo.service, whose default is still eventlet;
    # nothing here runs under it.
    warnings.filterwarnings('ignore', r'\s*Eventlet is deprecated')
    found: list[str] | None = None if args.project else []
    cfg.CONF(args.sources, project=args.project, prog=args.prog,
             default_config_files=found, default_config_dirs=found)


def section(args: argparse.Namespace,
            ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The arguments of a paste factory: (global_conf, local_conf).

    :raises exceptions.ConfigError: if there is no such section
    """
    if not args.paste:
        return {}, {}
    kind, _, name = args.section.partition(':')
    try:
        context = loadwsgi.loadcontext(
            _KINDS[kind], f'config:{os.path.abspath(args.paste)}', name=name)
    except Exception as exc:  # of many kinds
        raise exceptions.ConfigError([
            f'--paste {args.paste} --section {args.section}: '
            f'{type(exc).__name__}: {redact.Redactor()(exc)}']) from None
    return context.global_conf, context.local_conf


def door(args: argparse.Namespace) -> door_module.Door:
    """The door that the service would make from what was read.

    :raises exceptions.ConfigError: with every mistake
    """
    if not args.paste:
        return door_module.Door(page.not_found(), cfg.CONF)
    global_conf, local_conf = section(args)
    return door_module.Door(page.not_found(), {**global_conf, **local_conf},
                            own_names=local_conf)


def explained(exc: Exception) -> str:
    """The text of one of ERRORS, without secrets.

    Ours hold none. oslo.config's text ends with the line that it cannot
    parse, which may be a password.
    """
    if isinstance(exc, exceptions.ConfigError):
        return str(exc)
    return redact.Redactor()(re.split(r""": ['"]""", str(exc))[0])
