# SPDX-License-Identifier: Apache-2.0

"""A small API with ``/healthcheck`` in its pipeline, for experiments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from importlib import metadata
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
from typing import Any, TYPE_CHECKING
import warnings

from oslo_config import cfg
from oslo_log import log as logging
from paste import deploy

from healthcheck.answers import page
from healthcheck.cmd import demo_cloud
from healthcheck.config import opts
from healthcheck.config import projects
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

PASTE_FILE = 'etc/healthcheck/api-paste.ini'
WORKERS = 3

# All users of this host may see the status page.
_LOOPBACK = ['127.0.0.0/8', '::1']

# Log levels: only the health check's own lines matter here.
_DEMO_CONF = '''\
[DEFAULT]
transport_url = kombu+memory://
default_log_levels = kombu=ERROR, oslo.messaging=ERROR, oslo_service=WARNING

[database]
connection = sqlite:///{directory}/{database}

[api_database]
connection = sqlite:///{directory}/{api_database}

[healthcheck]
backends = cells, services, database, message_queue
services_of = nova
interval = 2
retry_interval = 1
timeout = 1.5
ttl = 10
slow_threshold = 0.25
'''


def app_factory(global_conf: Mapping[str, Any] | None,
                **local_conf: Any) -> wsgi.WSGIApplication:
    """Make the API itself. It answers every request with its name."""
    return page.make(200, '{"name": "demo", "versions": []}\n',
                     'application/json')


def main(argv: Sequence[str] | None = None) -> None:
    args = _parse(argv)
    temporary = None
    if not args.state_dir:
        temporary = args.state_dir = tempfile.mkdtemp(prefix='healthcheck-')
    directory = pathlib.Path(args.state_dir).resolve()
    with contextlib.ExitStack() as ends:
        if temporary:
            ends.callback(_only_here(shutil.rmtree), temporary,
                          ignore_errors=True)
        try:
            own = not args.config_file
            if own:
                args.config_file = [_make_state(directory)]
            _configure(args.config_file, directory)
            app = deploy.loadapp(f'config:{os.path.abspath(args.paste_file)}')
        except (cfg.Error, exceptions.ConfigError) as exc:
            sys.exit(f'healthcheck-demo: {exc}')
        policy = getattr(app, 'policy', None) or base.policy_of(
            views.View(cfg.CONF, {}).settings)

        def ready(address: Any) -> None:
            root = _root_of(address)
            if own:
                cloud = _start_cloud(directory, root)
                ends.callback(_only_here(_end), *cloud)
            print('\n'.join(_explain(root, policy, directory if own
                                     else None)), flush=True)
        _serve(app, args, ready)


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
                        'nova.conf; its backends are probed. Can be '
                        'repeated. (default: a Nova of SQLite files with '
                        'three cells, and a message queue in memory)')
    parser.add_argument('--paste-file', metavar='FILE',
                        help=f'(default: the {PASTE_FILE} of this package)')
    parser.add_argument('--state-dir', metavar='DIRECTORY',
                        help='where to keep the SQLite files and what the '
                        'workers share (default: a temporary directory, '
                        'removed at the end)')
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
    """Make what databases are missing, and the file that names them."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    demo_cloud.make(directory)
    conf = directory / 'demo.conf'
    conf.write_text(_DEMO_CONF.format(
        # In oslo.config, $ refers to another option.
        directory=str(directory).replace('$', '$$'),
        database=demo_cloud.DATABASE, api_database=demo_cloud.API_DATABASE))
    return str(conf)


def _configure(files: Sequence[str], directory: pathlib.Path) -> None:
    """Set up oslo.config and oslo.log the way a service does."""
    # oslo.messaging imports oslo.service, whose default is still eventlet;
    # nothing here runs under it.
    warnings.filterwarnings('ignore', r'\s*Eventlet is deprecated')
    conf = cfg.CONF
    logging.register_options(conf)
    conf([], default_config_files=list(files), default_config_dirs=[])
    project = projects.guess(conf, files)
    conf([], project=project, default_config_files=list(files),
         default_config_dirs=[])
    # With a real service's file, the demo must not write to its log.
    for name in ('log_config_append', 'log_dir', 'log_file'):
        conf.set_override(name, None)
    for name in ('use_journal', 'use_json', 'use_syslog'):
        conf.set_override(name, False)
    logging.setup(conf, 'healthcheck-demo')
    conf.register_opts(opts.all_opts(), group=opts.GROUP)
    for name, value in (
            ('backends', projects.backends_of(conf, project)),
            ('detail_source_ranges', _LOOPBACK),
            # The service's own workers are not to share its prober.
            ('state_path', str(directory))):
        conf.set_default(name, value, group=opts.GROUP)


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
        'workers': WORKERS, 'threads': 4, 'loglevel': 'warning',
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


def _root_of(address: Any) -> str:
    """The URL of where the server listens."""
    host = f'[{address[0]}]' if ':' in address[0] else address[0]
    return f'http://{host}:{address[1]}'


def _only_here(act: Callable[..., object]) -> Callable[..., None]:
    """In this process alone: gunicorn's workers are forks, and end, too."""
    owner = os.getpid()

    def guarded(*args: Any, **kwargs: Any) -> None:
        if os.getpid() == owner:
            act(*args, **kwargs)
    return guarded


def _start_cloud(directory: pathlib.Path, root: str) -> tuple[int, int]:
    """Start what runs in the cells, and a balancer that polls.

    It ends when its standard input does, so it cannot outlive us. Not with
    ``subprocess``, whose object would be finalised in each fork, too.

    :return: its process, and the descriptor that it waits for
    """
    url = root + views.View(cfg.CONF, {}).settings.path
    read, write = os.pipe()
    process = os.posix_spawn(
        sys.executable, [sys.executable, '-m', demo_cloud.__name__,
                         str(directory), url],
        os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, read, 0)],
        setpgroup=0)  # Ctrl-C is for us alone
    os.close(read)
    return process, write


def _end(process: int, descriptor: int) -> None:
    os.close(descriptor)
    with contextlib.suppress(ChildProcessError):  # gunicorn was faster
        os.waitpid(process, 0)


def _explain(root: str, policy: policy_module.Policy,
             directory: pathlib.Path | None) -> Iterator[str]:
    """What to look at and what to break.

    :param directory: where the databases of our own cloud are; None with a
        real service's
    """
    settings = views.View(cfg.CONF, {}).settings
    url = root + settings.path
    bound = f'{policy.detection:.1f} s'
    yield from ('', 'Open in a browser:', f'  {url}/detail', '',
                'Or ask as a balancer and an operator do:',
                f'  curl -i {url}',
                f"  curl -H 'Accept: application/health+json' {url}",
                *(f'  curl -i {url}/{name}'
                  for name in settings.backends[:1]),
                f'  curl -i {url}/live', f'  curl -I {url}',
                f"  curl -H 'Accept: text/plain' {url}/detail",
                f'  curl {root}/', '')
    if directory is None:
        yield from ('Stop a backend of the service: the status follows '
                    f'within {bound}.',
                    'Probing starts with the first request.')
    else:
        yield from _explain_cloud(directory, bound)
    yield from ('', f'{WORKERS} workers share one prober. Ctrl-C ends it.',
                '')


def _explain_cloud(directory: pathlib.Path, bound: str) -> Iterator[str]:
    yield (f'Watch. Every {demo_cloud.MINUTE:.0f} s from now, the node warns '
           'and stays in (200):')
    for fault in demo_cloud.FAULTS:
        yield (f'  {fault.begins:.0f} s to {fault.ends:.0f} s: {fault.cell} '
               f'{fault.what}')
    breaks = (
        ('Break the database: the status follows within '
         f'{bound}. The node is out (503).', demo_cloud.DATABASE),
        (f'Break a cell: within {bound}, the node warns and stays in (200).',
         demo_cloud.database_of(demo_cloud.CELLS[0])))
    for what, name in breaks:
        away, back = demo_cloud.moves(directory / name)
        yield from ('', what, f'  {away}', 'Repair it:', f'  {back}')
    program = 'healthcheck' if shutil.which('healthcheck') else shlex.quote(
        str(pathlib.Path(sys.executable).with_name('healthcheck')))
    share = f'--state-path {shlex.quote(str(directory))}'
    yield from ('', 'Drain the node: 503 at once.',
                f'  {program} drain {share} --reason demo', 'End that:',
                f'  {program} resume {share}')
