# SPDX-License-Identifier: Apache-2.0

"""Take a service, or all services of this host, out of the balancer.

Every worker answers 503 DRAINED until the drain ends: after --for, or with
"healthcheck resume". Requests are served as before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import datetime
import getpass
import os
import shlex
import sys
import time

from healthcheck.cmd import arguments
from healthcheck.config import opts
from healthcheck.host import ancestors
from healthcheck.host import drainfile
from healthcheck.host import drains
from healthcheck.reports import drain

PROG = 'healthcheck'

_WAIT = 10.0
"""Seconds for balancers to notice: 3 failed polls, 2 s apart, and a margin."""

_EXAMPLES = '''\
  All services of this host, for half an hour:
    healthcheck drain --for 30m --reason "new disk, CHG-4711"
    healthcheck resume

  Only Nova, found by its configuration, until "healthcheck resume":
    healthcheck drain --config-file /etc/nova/nova.conf --reason upgrade
    healthcheck resume --config-file /etc/nova/nova.conf

  As ExecStop= of a systemd unit, before the server is stopped:
    healthcheck drain --state-path /run/nova --by systemd --keep --for 2m \\
        --reason "the unit stops" --wait 10
'''

_RESUME_EXAMPLES = '''\
  All services of this host:
    healthcheck resume

  Only Nova, no matter who drained it:
    healthcheck resume --config-file /etc/nova/nova.conf

  As ExecStartPost= of a systemd unit, only if its ExecStop= drained:
    healthcheck resume --state-path /run/nova --by systemd
'''


def main(argv: Sequence[str] | None = None) -> int:
    """``healthcheck drain``."""
    args = main_parser().parse_args(argv)
    file = _find(args)
    reason = args.reason.strip()
    if not reason:
        sys.exit(f'{PROG} drain: --reason is empty: say why, for other '
                 f'admins')
    before = file.read() if args.keep else None
    try:
        if before is None:
            _prepare(args, file.path)
            held = file.begin(reason, args.by or _login(), args.seconds)
        else:
            held = before
    except drainfile.Unusable as exc:
        sys.exit(f'{PROG} drain: {exc}{_hint(args)}')
    print(f'{_whose(args, "is", "are")} {"still " if before else ""}drained'
          f'{_end(held)}, by {held.by or "somebody"}: '
          f'{held.reason or "no reason given"}')
    print(f'File: {file.path}; end it with: {PROG} resume'
          f'{_told(args)}')
    if os.geteuid() != 0:
        print(f'Only services that run as user {_login()} accept it.')
    if args.wait:
        time.sleep(args.wait)
    return 0


def resume(argv: Sequence[str] | None = None) -> int:
    """``healthcheck resume``."""
    args = resume_parser().parse_args(argv)
    file = _find(args)
    held = file.read()
    try:
        if args.by is not None and (held is None or held.by != args.by):
            ended = False
        else:
            ended = file.end()
    except drainfile.Unusable as exc:
        sys.exit(f'{PROG} resume: {exc}')
    if held is None:
        print(f'{_whose(args, "was", "were")} not drained')
    elif ended:
        print(f'{_whose(args, "is", "are")} no longer drained; it was by '
              f'{held.by or "somebody"}: {held.reason or "no reason given"}')
    else:
        print(f'{_whose(args, "is", "are")} still drained'
              f'{_end(held)}, by {held.by or "somebody"}')
    if not _is_host(args) and (
            drains.of_host(os.path.abspath(args.drain_path)).read()):
        print(f'All services of this host are still drained. To end that: '
              f'{PROG} resume')
    return 0


def main_parser() -> argparse.ArgumentParser:
    parser = arguments.parser(f'{PROG} drain', __doc__, _EXAMPLES)
    parser.add_argument('--for', dest='seconds', type=_seconds,
                        metavar='TIME', help='how long: 90s, 30m, 1h30m, 2d '
                        '(default: until "healthcheck resume")')
    parser.add_argument('--reason', required=True, metavar='TEXT',
                        help='why; only admins see it')
    parser.add_argument('--by', metavar='NAME',
                        help='who drains (default: your login)')
    parser.add_argument('--keep', action='store_true',
                        help='do not change a drain that exists')
    parser.add_argument('--wait', nargs='?', type=_wait, const=_WAIT,
                        default=0.0, metavar='SECONDS',
                        help='return after this time, in which balancers '
                        f'notice (without a number: {_WAIT:g})')
    _add_service(parser)
    return parser


def resume_parser() -> argparse.ArgumentParser:
    parser = arguments.parser(
        f'{PROG} resume', 'End a drain. The checks decide the answer again.',
        _RESUME_EXAMPLES)
    parser.add_argument('--by', metavar='NAME',
                        help='only if the drain has this name')
    _add_service(parser)
    return parser


def _add_service(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        'which service (default: all services of this host)')
    arguments.add_files(group)
    group.add_argument('--state-path', metavar='DIRECTORY',
                       help='where its workers share, instead of the '
                       'configured [healthcheck]state_path, '
                       '[oslo_concurrency]lock_path or $RUNTIME_DIRECTORY')
    group.add_argument('--drain-path', metavar='FILE',
                       default=opts.DRAIN_PATH,
                       help='for all services: their '
                       '[healthcheck]drain_path (default: %(default)s)')


def _find(args: argparse.Namespace) -> drainfile.DrainFile:
    """The file of the drain that the arguments name."""
    if args.state_path:
        return drains.of_service(os.path.abspath(args.state_path))
    if _is_host(args):
        return drains.of_host(os.path.abspath(args.drain_path))
    place = _configured_place(args)
    if place is None:
        sys.exit(f'{PROG}: the configuration names no directory in which the '
                 f'workers share. Name it with --state-path; for a systemd '
                 f'unit with RuntimeDirectory=nova that is /run/nova')
    return drains.of_service(place)


def _configured_place(args: argparse.Namespace) -> str | None:
    from oslo_config import cfg

    from healthcheck.config import views
    from healthcheck import exceptions
    from healthcheck.host import group

    conf = cfg.ConfigOpts()
    found: list[str] | None = None if args.project else []
    try:
        conf(args.sources, project=args.project, default_config_files=found,
             default_config_dirs=found)
        view = views.View(conf, {})
        view.check()
    except (cfg.Error, exceptions.ConfigError) as exc:
        sys.exit(f'{PROG}: {exc}')
    return group.find_place(view)


def _is_host(args: argparse.Namespace) -> bool:
    return not (args.sources or args.project or args.state_path)


def _prepare(args: argparse.Namespace, path: str) -> None:
    """Ensure that workers will trust a file there and can read it.

    :raises drainfile.Unusable: if not
    """
    directory = os.path.dirname(path)
    try:
        if _is_host(args):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o755)
                os.chmod(directory, 0o755)  # in spite of the umask
            weakness = ancestors.weakness(directory, '--drain-path')
        else:
            # The place usually belongs to the user of the service.
            weakness = ancestors.weakness(directory,
                                          user=os.stat(directory).st_uid)
    except OSError as exc:
        raise drainfile.Unusable(f'{directory}: {exc.strerror}') from None
    if weakness:
        raise drainfile.Unusable(f'{path}: {weakness}')


def _hint(args: argparse.Namespace) -> str:
    if os.geteuid() == 0:
        return ''
    return ('. Run it as root' if _is_host(args)
            else '. Run it as root, or as the user of the service')


def _seconds(text: str) -> float:
    try:
        return drain.seconds_of(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _wait(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f'{text}: not 0 to 3600 seconds')
    return seconds


def _login() -> str:
    """The name of the user who runs this, also under sudo."""
    with contextlib.suppress(Exception):  # many kinds, if passwd has no entry
        return os.environ.get('SUDO_USER') or getpass.getuser()
    return f'user {os.getuid()}'


def _whose(args: argparse.Namespace, one: str, many: str) -> str:
    if _is_host(args):
        return f'All services of this host {many}'
    return f'The service {one}'


def _told(args: argparse.Namespace) -> str:
    """The arguments that name the service."""
    told = list(args.sources)
    told += [f'--project={args.project}'] if args.project else []
    told += [f'--state-path={args.state_path}'] if args.state_path else []
    if _is_host(args) and args.drain_path != opts.DRAIN_PATH:
        told.append(f'--drain-path={args.drain_path}')
    return ''.join(f' {shlex.quote(each)}' for each in told)


def _end(held: drain.Drain) -> str:
    if held.until is None:
        return ', without an end'
    moment = datetime.datetime.fromtimestamp(held.until,
                                             datetime.timezone.utc)
    return f' until {moment:%Y-%m-%d %H:%M:%S} UTC'


if __name__ == '__main__':
    sys.exit(main())
