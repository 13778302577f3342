# SPDX-License-Identifier: Apache-2.0

"""Probe for the workers of a service, in a process of its own.

If you give it the workers' configuration files, they share its report. It can
also answer /healthcheck itself, for services that have no HTTP.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import functools
import os
import sys

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck.cmd import explain
from healthcheck.cmd import sources
from healthcheck.config import reading
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.host import group as group_module
from healthcheck.serving import agent
from healthcheck.serving import agentcheck
from healthcheck.serving import door as door_module
from healthcheck.serving import listening
from healthcheck.serving import systemd

LOG = logging.getLogger(__name__)

PROG = 'healthcheck-agent'

_EXAMPLES = '''\
examples:
  healthcheck-agent --project nova --prog nova-conductor \\
      --listen unix:/run/nova/healthcheck.sock
  healthcheck-agent --config-file /etc/cinder/cinder.conf \\
      --listen 127.0.0.1:8079
  healthcheck-agent --project nova --prog nova-api --check \\
      --paste /etc/nova/api-paste.ini --section filter:healthcheck
'''

_USELESS = (
    'an agent without --listen would be of no use: %s. Let it answer by '
    'itself, with --listen 127.0.0.1:8079 or --listen unix:PATH; or share '
    'with the workers: set [healthcheck]sharing = host, and '
    '[healthcheck]state_path or [oslo_concurrency]lock_path to a local '
    'directory that the service can write to')


def main(argv: Sequence[str] | None = None) -> None:
    args = _parse(argv)
    try:
        if args.check:
            _check(args)
        else:
            _run(args)
    except sources.ERRORS as exc:
        sys.exit(f'{PROG}: {sources.explained(exc)}')
    except listening.ListenError as exc:
        sys.exit(f'{PROG}: {exc}')


def main_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sources.add_arguments(parser)
    answer = parser.add_argument_group('how to answer')
    answer.add_argument('--listen', action='append', default=[],
                        metavar='ADDRESS', help='where to answer: '
                        '127.0.0.1:PORT, [::1]:PORT or unix:PATH; can be '
                        'repeated')
    answer.add_argument('--agent-check', action='append', default=[],
                        metavar='ADDRESS', help="where to answer HAProxy's "
                        'agent-check; as for --listen')
    answer.add_argument('--agent-check-warn-weight', type=_percentage,
                        default=100, metavar='PERCENT',
                        help="the part of its weight that a node gets from "
                        'HAProxy while it only warns; the weight there must '
                        'be 2 or more (default: %(default)s)')
    answer.add_argument('--allow-remote', action='store_true',
                        help='allow addresses that other hosts can connect '
                        'to')
    answer.add_argument('--socket-mode', default='660', metavar='MODE',
                        help='mode of a UNIX socket: anyone who can write to '
                        'it can connect (default: %(default)s)')
    parser.add_argument('--check', action='store_true',
                        help='explain the configuration, or what is wrong '
                        'with it, and exit')
    parser.add_argument('--debug', action='store_true', help='log more')
    return parser


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = main_parser()
    args = parser.parse_args(argv)
    sources.check_arguments(parser, args)
    try:
        args.socket_mode = int(args.socket_mode, 8)
    except ValueError:
        parser.error(f'--socket-mode {args.socket_mode}: not a mode such as '
                     f'660')
    args.listen = _addresses(parser, args, '--listen', args.listen)
    args.agent_check = _addresses(parser, args, '--agent-check',
                                  args.agent_check)
    return args


def _addresses(parser: argparse.ArgumentParser, args: argparse.Namespace,
               option: str, texts: Sequence[str]) -> list[listening.Address]:
    try:
        found = [listening.parse(text) for text in texts]
    except listening.ListenError as exc:
        parser.error(f'{option} {exc}')
    for address in found:
        if listening.is_remote(address) and not args.allow_remote:
            parser.error(f'{option} {address}: other hosts can connect to '
                         f'it; to allow that, add --allow-remote')
    return found


def _percentage(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'{text}: not from 1 to 100')
    return int(text)


def _run(args: argparse.Namespace) -> None:
    signals = agent.Signals()
    sources.set_up_logging(PROG, args.debug)
    sources.read_files(args)
    running = agent.Agent(
        functools.partial(_load, args),
        lambda: agent.ConfigCheck([*sys.orig_argv, '--check']),
        systemd.Notifier())
    if os.geteuid() == 0:
        LOG.warning('The healthcheck agent runs as root, so it only shares '
                    'with workers that run as root, too')
    with contextlib.ExitStack() as stack:
        listeners = _open(args.listen, args, stack)
        asked = _open(args.agent_check, args, stack)
        for listener in listeners:
            listener.serve(running)
            LOG.info('The healthcheck agent listens on %s', listener.address)
        speaker = agentcheck.Speaker(running, args.agent_check_warn_weight)
        if asked:
            agentcheck.LineServer([each.socket for each in asked],
                                  speaker.say).start()
            LOG.info("The healthcheck agent answers HAProxy's agent-check on "
                     '%s', ' '.join(str(each.address) for each in asked))
        running.run(signals)
        if speaker.leave():
            LOG.info('The healthcheck agent waits for balancers to hear that '
                     'it leaves')
            signals.next(agentcheck.FAREWELL)


def _open(addresses: Sequence[listening.Address], args: argparse.Namespace,
          stack: contextlib.ExitStack) -> list[listening.ListeningSocket]:
    """Listen; a UNIX socket is removed with the stack."""
    found = []
    for address in addresses:
        found.append(listening.ListeningSocket(address, args.socket_mode))
        stack.callback(found[-1].remove)
    return found


def _check(args: argparse.Namespace) -> None:
    sources.read_files(args)
    door = _load(args)
    print('files:', *explain.files(door))
    shared = explain.shared(door)
    if shared is not None:
        print(f'shares in {shared.directory}: {shared.name}')
    for address in args.listen:
        print('listens on', address)
    for address in args.agent_check:
        print("answers HAProxy's agent-check on", address)


def _load(args: argparse.Namespace) -> door_module.Door:
    """Make a door from the current configuration."""
    if not cfg.CONF.reload_config_files():
        raise exceptions.ConfigError(['the files cannot be read: see above'])
    if not (args.listen or args.agent_check):
        global_conf, local_conf = sources.section(args)
        section = {**global_conf, **local_conf}
        _reject_useless(views.View(views.service_conf(section), section))
    LOG.info('The healthcheck agent reads %s',
             ' '.join(reading.files(cfg.CONF)))
    return sources.door(args)


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
