# SPDX-License-Identifier: Apache-2.0

"""A small API with ``/healthcheck`` in its pipeline, for experiments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from importlib import metadata
import os
import pathlib
import shlex
import shutil
import sqlite3
import sys
import tempfile
from typing import Any, TYPE_CHECKING
import warnings

from oslo_config import cfg
from oslo_log import log as logging
from paste import deploy

from healthcheck.answers import page
from healthcheck.config import opts
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.probing import policy as policy_module

if TYPE_CHECKING:
    from _typeshed import wsgi

_EXAMPLES = '''\
examples:
  healthcheck-demo
  healthcheck-demo --port 8081 --config-file /etc/nova/nova.conf
'''

DATABASE = 'demo.db'
PASTE_FILE = 'etc/healthcheck/api-paste.ini'
BACKENDS = ['database', 'message_queue']

# Log levels: only the health check's own lines matter here.
_DEMO_CONF = '''\
[DEFAULT]
transport_url = kombu+memory://
default_log_levels = kombu=ERROR, oslo.messaging=ERROR, oslo_service=WARNING

[database]
connection = sqlite:///{database}

[healthcheck]
interval = 2
retry_interval = 1
timeout = 1
ttl = 10
'''


def app_factory(global_conf: Mapping[str, Any] | None,
                **local_conf: Any) -> wsgi.WSGIApplication:
    """Make the API itself. It answers every request with its name."""
    return page.make(200, '{"name": "demo", "versions": []}\n',
                     'application/json')


def main(argv: Sequence[str] | None = None) -> None:
    args = _parse(argv)
    owner = os.getpid()
    temporary = None
    if not args.config_file and not args.state_dir:
        temporary = args.state_dir = tempfile.mkdtemp(prefix='healthcheck-')
    try:
        if not args.config_file:
            args.config_file = [_make_state(pathlib.Path(args.state_dir))]
        _configure(args.config_file)
        app = deploy.loadapp(f'config:{os.path.abspath(args.paste_file)}')
        policy = getattr(app, 'policy', None) or base.policy_of(
            views.View(cfg.CONF, {}).settings)
        _serve(app, args, lambda address: _explain(args, address, policy))
    except (cfg.Error, exceptions.ConfigError) as exc:
        sys.exit(f'healthcheck-demo: {exc}')
    finally:
        # gunicorn's workers are forks, which also end here.
        if temporary and os.getpid() == owner:
            shutil.rmtree(temporary, ignore_errors=True)


def main_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='healthcheck-demo', description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bind', default='127.0.0.1', metavar='ADDRESS',
                        help='where to listen (default: %(default)s)')
    parser.add_argument('--port', default=8080, type=int,
                        help='0 for a free one (default: %(default)s)')
    parser.add_argument('--config-file', action='append', metavar='FILE',
                        help="a real service's configuration, such as "
                        'nova.conf; its database and message queue are '
                        'probed. Can be repeated. (default: a SQLite file '
                        'and a message queue in memory)')
    parser.add_argument('--paste-file', metavar='FILE',
                        help=f'(default: the {PASTE_FILE} of this package)')
    parser.add_argument('--state-dir', metavar='DIRECTORY',
                        help='where to keep the SQLite file (default: a '
                        'temporary directory, removed at the end)')
    return parser


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = main_parser()
    args = parser.parse_args(argv)
    args.paste_file = args.paste_file or _shipped_paste_file()
    if args.paste_file is None:
        parser.error(f'{PASTE_FILE} is not where it was installed; '
                     'give --paste-file')
    return args


def _shipped_paste_file() -> str | None:
    """The paste file of a checkout, else of the installed package."""
    checkout = pathlib.Path(__file__).resolve().parents[2] / PASTE_FILE
    if checkout.is_file():
        return str(checkout)
    # Usually below sys.prefix; pip --user and distributions differ.
    with contextlib.suppress(metadata.PackageNotFoundError):
        for path in metadata.files('openstack-healthcheck') or ():
            if path.as_posix().endswith(PASTE_FILE):
                return str(path.locate())
    return None


def _make_state(directory: pathlib.Path) -> str:
    """Make the database, if need be, and the configuration that names it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = directory.resolve() / DATABASE
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute('CREATE TABLE IF NOT EXISTS demo (id INTEGER)')
    conf = directory / 'demo.conf'
    conf.write_text(_DEMO_CONF.format(
        # In oslo.config, $ refers to another option.
        database=str(database).replace('$', '$$')))
    return str(conf)


def _configure(files: Sequence[str]) -> None:
    """Set up oslo.config and oslo.log the way a service does."""
    # oslo.messaging imports oslo.service, whose default is still eventlet;
    # nothing here runs under it.
    warnings.filterwarnings('ignore', r'\s*Eventlet is deprecated')
    conf = cfg.CONF
    logging.register_options(conf)
    conf([], project='healthcheck-demo', default_config_files=list(files))
    # With a real service's file, the demo must not write to its log.
    for name in ('log_config_append', 'log_dir', 'log_file'):
        conf.set_override(name, None)
    for name in ('use_journal', 'use_json', 'use_syslog'):
        conf.set_override(name, False)
    logging.setup(conf, 'healthcheck-demo')
    conf.register_opts(opts.all_opts(), group=opts.GROUP)
    conf.set_default('backends', BACKENDS, group=opts.GROUP)


def _serve(app: wsgi.WSGIApplication, args: argparse.Namespace,
           ready: Callable[[Any], None]) -> None:
    try:
        from gunicorn.app import base as gunicorn
    except ImportError:
        sys.exit('healthcheck-demo: gunicorn is missing; install '
                 'openstack-healthcheck[demo]')
    host = f'[{args.bind}]' if ':' in args.bind else args.bind
    settings = {
        'bind': f'{host}:{args.port}', 'worker_class': 'gthread',
        'workers': 2, 'threads': 4, 'loglevel': 'warning',
        'graceful_timeout': 2, 'control_socket_disable': True,
        'when_ready': lambda server: ready(
            server.LISTENERS[0].sock.getsockname())}

    class Server(gunicorn.BaseApplication):
        def load_config(self) -> None:
            for name, value in settings.items():
                if name in self.cfg.settings:  # depends on the release
                    self.cfg.set(name, value)

        def load(self) -> wsgi.WSGIApplication:
            return app

    Server().run()


def _explain(args: argparse.Namespace, address: Any,
             policy: policy_module.Policy) -> None:
    host = f'[{address[0]}]' if ':' in address[0] else address[0]
    root = f'http://{host}:{address[1]}'
    settings = views.View(cfg.CONF, {}).settings
    url = root + settings.path
    bound = f'{policy.detection:.1f} s'
    lines = ['', 'Try:', f'  curl -i {url}',
             f"  curl -H 'Accept: application/health+json' {url}",
             *(f'  curl -i {url}/{name}' for name in settings.backends[:1]),
             f'  curl -i {url}/live', f'  curl -I {url}', f'  curl {root}/',
             '']
    if args.state_dir:
        path = pathlib.Path(args.state_dir).resolve() / DATABASE
        here = shlex.quote(str(path))
        away = shlex.quote(f'{path}.away')
        lines += [f'Break the database: the status follows within {bound}.',
                  f'  mv {here} {away}', 'Repair it:', f'  mv {away} {here}']
    else:
        lines += ['Stop the database or the message queue: the status '
                  f'follows within {bound}.']
    lines += ['', 'Probing starts with the first request. Ctrl-C ends it.', '']
    print('\n'.join(lines), flush=True)
