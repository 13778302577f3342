# SPDX-License-Identifier: Apache-2.0

"""Probe for the workers of a service, in a process of its own.

If you give it the workers' configuration files, they share its report. It can
also answer /healthcheck itself, for services that have no HTTP.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import os
import sys
from typing import Any
import warnings

from oslo_config import cfg
from oslo_log import log as logging
from paste.deploy import loadwsgi

from healthcheck.answers import page
from healthcheck.config import reading
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.host import group as group_module
from healthcheck.host import sharing
from healthcheck.serving import agent
from healthcheck.serving import listening
from healthcheck.serving import systemd

LOG = logging.getLogger(__name__)

PROG = 'healthcheck-agent'

_KINDS = {'filter': loadwsgi.FILTER, 'app': loadwsgi.APP}

_USELESS = (
    'an agent without --listen would be of no use: %s. Let it answer by '
    'itself, with --listen 127.0.0.1:8079 or --listen unix:PATH; or share '
    'with the workers: set [healthcheck]sharing = host, and '
    '[healthcheck]state_path or [oslo_concurrency]lock_path to a local '
    'directory that the service can write to')


def main(argv: Sequence[str] | None = None) -> None:
    args = _parse(argv)
    # oslo.messaging imports oslo.service, whose default is still eventlet;
    # nothing here runs under it.
    warnings.filterwarnings('ignore', r'\s*Eventlet is deprecated')
    try:
        if args.check:
            _check(args)
        else:
            _run(args)
    except (cfg.Error, exceptions.ConfigError,
            listening.ListenError) as exc:
        sys.exit(f'{PROG}: {exc}')


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    files = parser.add_argument_group('which service')
    files.add_argument('--config-file', action=_Source, dest='sources',
                       default=[], metavar='FILE', help="the service's "
                       'configuration; can be repeated, in the same order as '
                       'for the service')
    files.add_argument('--config-dir', action=_Source, dest='sources',
                       default=[], metavar='DIRECTORY', help='more files; can '
                       'be repeated; a later file or directory wins')
    files.add_argument('--project', metavar='NAME',
                       help='find the files as oslo.config does, for example '
                       'those of nova in /etc/nova')
    files.add_argument('--prog', metavar='NAME',
                       help='the program, for example nova-conductor, which '
                       'may have files of its own')
    files.add_argument('--paste', metavar='FILE',
                       help='the paste file of the workers')
    files.add_argument('--section', default='filter:healthcheck',
                       help="the health check's section in that file, "
                       'filter:NAME or app:NAME (default: %(default)s)')
    answer = parser.add_argument_group('how to answer')
    answer.add_argument('--listen', action='append', default=[],
                        metavar='ADDRESS', help='where to answer: '
                        '127.0.0.1:PORT, [::1]:PORT or unix:PATH; can be '
                        'repeated')
    answer.add_argument('--allow-remote', action='store_true',
                        help='allow --listen addresses that other hosts can '
                        'connect to')
    answer.add_argument('--socket-mode', default='660', metavar='MODE',
                        help='mode of a UNIX socket: anyone who can write to '
                        'it can connect (default: %(default)s)')
    parser.add_argument('--check', action='store_true',
                        help='explain the configuration, or what is wrong '
                        'with it, and exit')
    parser.add_argument('--debug', action='store_true', help='log more')
    args = parser.parse_args(argv)
    if not (args.sources or args.project or args.paste):
        parser.error('which service? Give --config-file, --project or '
                     '--paste')
    kind, _, name = args.section.partition(':')
    if kind not in _KINDS or not name:
        parser.error(f'--section {args.section}: neither filter:NAME nor '
                     f'app:NAME')
    try:
        args.socket_mode = int(args.socket_mode, 8)
        args.listen = [listening.parse(text) for text in args.listen]
    except ValueError:
        parser.error(f'--socket-mode {args.socket_mode}: not a mode such as '
                     f'660')
    except listening.ListenError as exc:
        parser.error(f'--listen {exc}')
    for address in args.listen:
        if listening.is_remote(address) and not args.allow_remote:
            parser.error(f'--listen {address}: other hosts can connect to '
                         f'it; to allow that, add --allow-remote')
    return args


class _Source(argparse.Action):
    """Collects ``--config-file`` and ``--config-dir`` in their order.

    oslo.config gets them in that order; the later one wins.
    """

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        namespace.sources = [*namespace.sources,
                             f'{self.option_strings[0]}={values}']


def _run(args: argparse.Namespace) -> None:
    signals = agent.Signals()
    _set_up_logging(args.debug)
    _read_files(args)
    running = agent.Agent(
        functools.partial(_load, args),
        lambda: agent.ConfigCheck([*sys.orig_argv, '--check']),
        systemd.Notifier())
    if os.geteuid() == 0:
        LOG.warning('The healthcheck agent runs as root, so it only shares '
                    'with workers that run as root, too')
    with contextlib.ExitStack() as stack:
        listeners = []
        for address in args.listen:
            listeners.append(listening.ListeningSocket(address,
                                                       args.socket_mode))
            stack.callback(listeners[-1].remove)
        for listener in listeners:
            listener.serve(running)
            LOG.info('The healthcheck agent listens on %s', listener.address)
        running.run(signals)


def _check(args: argparse.Namespace) -> None:
    _read_files(args)
    door = _load(args)
    print('files:', *reading.files(cfg.CONF))
    if door.group is not None:
        print(f'shares in {sharing.Sharing(door.group).directory.path}: '
              f'{door.group.identity[:32]}')
    for address in args.listen:
        print('listens on', address)


def _set_up_logging(debug: bool) -> None:
    # Not the service's options: these name the service's log file.
    conf = cfg.ConfigOpts()
    logging.register_options(conf)
    conf([], prog=PROG, default_config_files=[], default_config_dirs=[])
    conf.set_default('use_stderr', True)
    conf.set_default('debug', debug)
    logging.setup(conf, PROG)


def _read_files(args: argparse.Namespace) -> None:
    """Read the service's configuration for the first time."""
    found: list[str] | None = None if args.project else []
    cfg.CONF(args.sources, project=args.project, prog=args.prog,
             default_config_files=found, default_config_dirs=found)


def _load(args: argparse.Namespace) -> agent.Door:
    """Make a door from the current configuration."""
    if not cfg.CONF.reload_config_files():
        raise exceptions.ConfigError(['the files cannot be read: see above'])
    global_conf, local_conf = _section(args)
    section = {**global_conf, **local_conf}
    view = views.View(views.service_conf(section), section)
    if not args.listen:
        _reject_useless(view)
    LOG.info('The healthcheck agent reads %s',
             ' '.join(reading.files(cfg.CONF)))
    if args.paste:
        return agent.Door(page.not_found(), section, own_names=local_conf)
    return agent.Door(page.not_found(), cfg.CONF)


def _section(args: argparse.Namespace,
             ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The arguments of a paste factory: (global_conf, local_conf)."""
    if not args.paste:
        return {}, {}
    kind, _, name = args.section.partition(':')
    try:
        context = loadwsgi.loadcontext(
            _KINDS[kind], f'config:{os.path.abspath(args.paste)}', name=name)
    except Exception as exc:  # of many kinds
        raise exceptions.ConfigError([
            f'--paste {args.paste} --section {args.section}: '
            f'{type(exc).__name__}: {exc}']) from None
    return context.global_conf, context.local_conf


def _reject_useless(view: views.View) -> None:
    """:raises exceptions.ConfigError: if no process could read the report"""
    why = ''
    if view.settings.sharing != group_module.HOST:
        why = f'[healthcheck]sharing is {view.settings.sharing}'
    elif group_module.find_place(view) is None:
        why = 'there is no directory to share a report in'
    elif not view.settings.backends:
        why = '[healthcheck]backends is empty'
    if why:
        raise exceptions.ConfigError([_USELESS % why])


if __name__ == '__main__':
    main()
