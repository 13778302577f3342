# SPDX-License-Identifier: Apache-2.0

"""Read the health checks of one or many nodes, the worst first.

It asks each node as a balancer does. On a UNIX socket, or with a token, it
also shows the details, if the node permits that. A token comes from OS_TOKEN,
from other OS_ variables, or from clouds.yaml.

A node that does not answer has failed: a balancer would take it out, too.

With --fleet, it asks one node for all nodes of its fleet (fleet_url). If you
give several, the first that answers counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import json
import os
import ssl
import sys
import time

from healthcheck.admin.views import formats
from healthcheck.admin.views import plain
from healthcheck.cmd import arguments
from healthcheck.cmd import fleet
from healthcheck.cmd import nodes
from healthcheck.cmd import output
from healthcheck.cmd import tokens

_EXAMPLES = '''\
  healthcheck status http://node1:8774/healthcheck
  healthcheck status node1:8774 node2:8774 node3:8774
  healthcheck status --watch node1:8774 node2:8774
  healthcheck status --os-cloud admin http://node1:8774
  healthcheck status unix:/run/healthcheck-nova/agent.sock
  healthcheck status --fleet node1:8774 node2:8774

  in a container:  healthcheck status --warn-ok 127.0.0.1:8774
  for Nagios:      healthcheck status --format line --check database \\
                       http://node1:8774
'''


def main(argv: Sequence[str] | None = None) -> int:
    parser = main_parser()
    args = parser.parse_args(argv)
    try:
        places = [nodes.Place(text, args.path) for text in args.nodes]
        tls = _tls(args, places)
    except nodes.BadAddress as exc:
        parser.error(str(exc))
    except OSError as exc:
        parser.error(f'--cacert {args.cacert}: {exc}')
    if args.fleet and args.check:
        parser.error('--check: not with --fleet, which shows all checks')
    args.format = output.format_for(sys.stdout, args.format)
    token = tokens.find(args.os_cloud)

    def ask() -> list[nodes.Reply]:
        asking = nodes.Asking(args.timeout, token(), args.check, tls)
        return (fleet.ask(places, asking) if args.fleet
                else nodes.ask_all(places, asking))
    if args.watch:
        return _watch(ask, args)
    replies = ask()
    print(output.painted(_shown(replies, args), sys.stdout))
    return _exit_status(replies, args)


def main_parser() -> argparse.ArgumentParser:
    parser = arguments.parser('healthcheck status', __doc__, _EXAMPLES)
    parser.add_argument('nodes', nargs='+', metavar='URL',
                        help='a URL, HOST:PORT, or unix:PATH for the socket '
                        'of an agent')
    parser.add_argument('--fleet', action='store_true',
                        help='ask one node for all nodes of its fleet; needs '
                        'a token or a socket, as details do')
    parser.add_argument('--check', metavar='NAME',
                        help='only the status of this check')
    parser.add_argument('--path', default=nodes.PATH,
                        help='the health check\'s path, where an address has '
                        'none (default: %(default)s)')
    parser.add_argument('--timeout', type=arguments.seconds, default=5.0,
                        metavar='SECONDS', help='how long a node may take '
                        '(default: %(default)g)')
    parser.add_argument('--os-cloud', metavar='NAME',
                        help='get a token for this cloud of clouds.yaml')
    parser.add_argument('--cacert', metavar='FILE',
                        help='the CA certificates for https nodes (default: '
                        'those of the system)')
    parser.add_argument('--insecure', action='store_true',
                        help='accept any certificate of a node')
    parser.add_argument('--watch', action='store_true',
                        help='repeat until Ctrl-C')
    parser.add_argument('--interval', type=arguments.seconds, default=2.0,
                        metavar='SECONDS', help='how often, with --watch '
                        '(default: %(default)g)')
    arguments.add_output(parser)
    return parser


def _tls(args: argparse.Namespace,
         places: Sequence[nodes.Place]) -> ssl.SSLContext | None:
    """One context for all nodes: to read the system's CAs is slow.

    :raises OSError: if the file of ``--cacert`` cannot be used
    """
    if not any(place.needs_tls for place in places):
        return None
    context = ssl.create_default_context(cafile=args.cacert)
    if args.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _watch(ask: Callable[[], list[nodes.Reply]],
           args: argparse.Namespace) -> int:
    """Show the status repeatedly; return the last one after Ctrl-C."""
    replies: list[nodes.Reply] = []
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            began = time.monotonic()
            replies = ask()
            _redraw(_shown(replies, args))
            time.sleep(max(0.0, began + args.interval - time.monotonic()))
    return _exit_status(replies, args)


def _redraw(text: str) -> None:
    """On a terminal, replace the last text; elsewhere, append."""
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    lines = [f'{time.strftime("%H:%M:%S")}  Ctrl-C ends', '',
             *text.splitlines()]
    # If a line wraps or the screen scrolls, the next text would be drawn in
    # the wrong place. Some terminals do not know their size: 0.
    shown = '\n'.join(line[:columns - 1 if columns else None]
                      for line in lines[:rows - 1 if rows else None])
    # Cursor home; each line clears its rest, the last one all below.
    sys.stdout.write('\x1b[H' + output.painted(shown, sys.stdout).replace(
        '\n', '\x1b[K\n') + '\x1b[K\n\x1b[J')
    sys.stdout.flush()


def _status(replies: Sequence[nodes.Reply]) -> str:
    return output.status_of(reply.status for reply in replies)


def _exit_status(replies: Sequence[nodes.Reply],
                 args: argparse.Namespace) -> int:
    return output.exit_status(_status(replies), args.warn_ok)


def _shown(replies: Sequence[nodes.Reply],
           args: argparse.Namespace) -> str:
    if args.fleet:
        return fleet.shown(replies[0], args.format)
    if args.format == output.JSON:
        return _json(replies)
    if args.format == output.LINE:
        return _line(replies, args.timeout)
    return _one(replies[0]) if len(replies) == 1 else _table(replies)


def _json(replies: Sequence[nodes.Reply]) -> str:
    return json.dumps({'status': _status(replies), 'nodes': [{
        'node': one.node, 'status': one.status, 'reason': one.reason,
        'latency_seconds': one.latency and round(one.latency, 4),
        'note': one.note, 'checks': one.checks, 'detail': one.detail}
        for one in replies]}, indent=2)


def _line(replies: Sequence[nodes.Reply], timeout: float) -> str:
    """The worst first; the critical value of latencies is the timeout."""
    named = _worst_first(replies)
    wrong = [one for one in named if one.status != output.PASS]
    text = '; '.join(f'{one.node}: {one.reason}' for one in wrong or named)
    data = {}
    if len(replies) > 1:
        text = f'{_counted(replies)}: {text}'
        data = {word: str(number) for word, number
                in _count(replies).items()}
    data |= {one.node if len(replies) > 1 else 'latency':
             f'{one.latency:.4f}s;;{timeout:g};0'
             for one in replies if one.latency is not None}
    return output.plugin_line(_status(replies), text, data)


def _table(replies: Sequence[nodes.Reply]) -> str:
    rows = [('NODE', 'STATUS', 'SINCE', 'LATENCY', 'REASON'), *(
        (one.node, one.status.upper(), _since(one), _span(one.latency),
         one.reason) for one in _worst_first(replies))]
    return '\n'.join([*plain.table(rows), '', _counted(replies)])


def _one(reply: nodes.Reply) -> str:
    """All that is known of one node."""
    if reply.detail is not None:
        # The node's release may have a different document.
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return formats.to_text(reply.detail).rstrip('\n')
    lines = [f'{reply.node}  {reply.status.upper()}  {reply.reason}']
    if reply.note:
        lines.append(f'({reply.note})')
    if reply.checks:
        lines += ['', *plain.table([
            ('CHECK', 'STATUS', 'REASON'),
            *((one['name'], one['status'].upper(), one['reason'])
              for one in reply.checks)])]
    return '\n'.join(lines)


def _worst_first(replies: Sequence[nodes.Reply]) -> list[nodes.Reply]:
    return sorted(replies, key=lambda one: (
        formats.WORDS.index(one.status), one.node))


def _count(replies: Sequence[nodes.Reply]) -> dict[str, int]:
    words = [one.status for one in replies]
    return {word: words.count(word) for word in (
        output.FAIL, output.WARN, output.UNKNOWN, output.PASS)}


def _counted(replies: Sequence[nodes.Reply]) -> str:
    return f'{len(replies)} nodes, ' + ', '.join(
        f'{number} {word}' for word, number in _count(replies).items()
        if number)


def _since(reply: nodes.Reply) -> str:
    """How long the node has had its status, if it tells."""
    try:
        return plain.ago((reply.detail or {})['since']['age_seconds'])
    except (KeyError, TypeError):
        return '-'


def _span(seconds: float | None) -> str:
    return '-' if seconds is None else plain.span(seconds)
