# SPDX-License-Identifier: Apache-2.0

"""Both on the same requests and files: what an upgrade changes.

Each difference is a row of doc/source/examples/differences.csv, and there is
no other one: what oslo.middleware answers, changed as the rows say that apply,
is what we answer. A row that changes nothing is an error, too.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import pathlib
import re
import textwrap

from oslo_config import cfg
import oslo_middleware
from oslo_middleware.healthcheck import opts as their_opts
from oslo_middleware.healthcheck import pluginbase
from paste import deploy
import pytest

import healthcheck
from healthcheck import exceptions
from tests.unit import wsgi

DOCS = pathlib.Path(__file__).parents[2] / 'doc' / 'source'
TABLE = DOCS / 'examples' / 'differences.csv'

# Since 7.0 it is an app alone, and answers whatever is below its mount point.
IS_APP = all(opt.name != 'path' for opt in their_opts.HEALTHCHECK_OPTS)

METHODS = ('GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE',
           'TRACE')
ACCEPTS = (
    None, '', '*/*', 'text/*', 'image/png', 'nonsense', 'text/plain',
    'text/html', 'TEXT/HTML', 'text/html;level=1', 'application/json',
    'application/health+json', 'application/*, text/html',
    'application/json;q=0', 'application/json;q=0, */*', 'text/plain;q=2',
    'text/html;q=0.5, application/json',
    'text/html;q=0.3, text/plain;q=0.3',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8')
PROXIED = ('HTTP_X_FORWARDED', 'HTTP_X_FORWARDED_PROTO',
           'HTTP_X_FORWARDED_HOST', 'HTTP_X_FORWARDED_FOR',
           'HTTP_X_FORWARDED_PREFIX')
RANGES = {'allowed_source_ranges': '127.0.0.0/8,2001:db8::/32'}
THERE, AWAY = '{there}', '{away}'
FILES = (
    {}, {'backends': 'disable_by_file'},
    {'backends': 'disable_by_file', 'disable_by_file_path': AWAY},
    {'backends': 'disable_by_file', 'disable_by_file_path': THERE},
    {'backends': 'disable_by_files_ports'},
    {'backends': 'disable_by_files_ports',
     'disable_by_file_paths': f'81:{THERE}'},
    {'backends': 'disable_by_files_ports',
     'disable_by_file_paths': f'80:{AWAY},81:{THERE}'},
    {'backends': 'disable_by_files_ports',
     'disable_by_file_paths': f'80:{THERE}'},
    {'backends': 'enable_by_files'},
    {'backends': 'enable_by_files',
     'enable_by_file_paths': f'{THERE},{THERE}'},
    {'backends': 'enable_by_files',
     'enable_by_file_paths': f'{THERE},{AWAY}'},
    {'backends': 'disable_by_files_ports,disable_by_file',
     'disable_by_file_path': THERE, 'disable_by_file_paths': f'80:{AWAY}'})
OUT = FILES[3]
UNWELL = (OUT, FILES[7], FILES[10], FILES[11])


@dataclasses.dataclass(frozen=True)
class Case:
    """One request to a node with some options.

    :param mounted: whether nothing is below it
    """

    options: dict
    method: str = 'GET'
    accept: str | None = None
    path: str = ''
    more: dict = dataclasses.field(default_factory=dict)
    mounted: bool = True

    def ask(self, kind, files):
        conf = read(self.options, files)
        try:
            app = kind(None if self.mounted else wsgi.below, conf)
            return wsgi.ask(app, self.path, self.method, self.accept,
                            SCRIPT_NAME='/healthcheck', **self.more)
        except Exception as exc:
            return exc


def cases():
    for options in FILES:
        for method, accept, detailed in itertools.product(
                ('GET', 'HEAD'), (None, 'application/json'), (False, True)):
            yield Case({**options, 'detailed': detailed}, method, accept)
    for detailed in (False, True):
        options = {**OUT, 'detailed': detailed}
        for accept in ACCEPTS:
            yield Case(options, 'GET', accept)
        for method in METHODS:
            yield Case(options, method)
    for mounted, address in itertools.product((False, True), (
            '127.0.0.1', '192.0.2.1', '2001:db8::1', '::1',
            '::ffff:127.0.0.1', 'unix', '')):
        yield Case({**OUT, **RANGES}, more={'REMOTE_ADDR': address},
                   mounted=mounted)
    for mounted, header, value in itertools.product(
            (False, True), (*PROXIED, 'HTTP_FORWARDED', 'HTTP_VIA'),
            ('', 'for=192.0.2.1')):
        yield Case({**OUT, 'ignore_proxied_requests': True},
                   more={header: value}, mounted=mounted)
    for path in ('/', '/live', '/ready', '/detail', '/nonsense',
                 '/disable_by_file', '?a=b'):
        yield Case({**FILES[-1]}, path=path, mounted=IS_APP)
    yield Case({'backends': 'databse'})
    yield Case({'backends': 'disable_by_files_ports',
                'disable_by_file_paths': 'x'})
    yield Case({'backends': 'disable_by_file,enable_by_files'})
    yield Case({'detailed': 'maybe'})
    yield Case({'allowed_source_ranges': 'nonsense'})


def read(options, files):
    """A service's configuration, of one file."""
    path = files / 'service.conf'
    path.write_text('[healthcheck]\n' + ''.join(
        f'{name} = {value}\n' for name, value in options.items()).format(
            there=files / 'there', away=files / 'away'))
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    return conf


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / 'there').touch()
    # What a WebOb middleware does where nothing is below it: it connects to
    # the host that the caller has named.
    monkeypatch.setattr('webob.request.BaseRequest.make_default_send_app',
                        lambda self: _connects_to_the_caller_s_host)
    # It looks at all objects of the process, and those of other tests raise.
    monkeypatch.setattr('oslo_middleware.healthcheck._find_objects',
                        lambda kind: [])
    return tmp_path


def _connects_to_the_caller_s_host(environ, start_response):
    start_response('502 Bad Gateway', [('Content-Type', 'text/plain')])
    return [b'Connection refused']


# Whether a row applies, and what it makes of oslo.middleware's answer.


def _wrong(case):
    return case.options.get('backends') == 'databse' or (
        case.options.get('disable_by_file_paths') == 'x')


def _refused(case):
    return (case.options.get('detailed') == 'maybe'
            or 'enable_by_files' in case.options.get('backends', '')
            and 'disable_by_file' in case.options['backends']
            or case.options.get('allowed_source_ranges') == 'nonsense')


def _is_page(case):
    return not case.path.startswith('/') or IS_APP and case.path == '/'


def _is_declined(case):
    """Whether we do not answer."""
    if 'ignore_proxied_requests' in case.options:
        return any(case.more.get(name) for name in (
            *PROXIED, 'HTTP_FORWARDED'))
    return 'allowed_source_ranges' in case.options and (
        case.more.get('REMOTE_ADDR') in ('192.0.2.1', '::1', 'unix', ''))


def _loads(case):
    return not _wrong(case) and not _refused(case)


def _page(status, body, kind='text/plain; charset=UTF-8', **headers):
    return wsgi.Answer(status, {
        'Content-Type': kind, 'Content-Length': str(len(body)),
        **{name.replace('_', '-'): value for name, value in headers.items()},
    }, body)


def _without_caching(case, theirs, ours, files):
    return dataclasses.replace(theirs, headers={
        **theirs.headers, 'Cache-Control': 'no-store'})


def _with_length(case, theirs, ours, files):
    return dataclasses.replace(theirs, headers={
        **theirs.headers, 'Content-Length': '0'})


def _not_allowed(case, theirs, ours, files):
    return _page(405, b'Method Not Allowed', Allow='GET, HEAD, OPTIONS')


def _health_json(case, theirs, ours, files):
    assert {name: found[0].get('output', 'OK') for name, found
            in ours.json['checks'].items()} == {
        'disable_by_file': theirs.text}
    return _page(theirs.status, ours.body, 'application/health+json')


def _curt(case, theirs, ours, files):
    if 'html' in theirs.headers['Content-Type']:
        return dataclasses.replace(case, options={
            **case.options, 'detailed': False}).ask(
                oslo_middleware.Healthcheck, files)
    told = theirs.json
    assert told.keys() > {'platform', 'python_version', 'threads'}
    for before, now in zip(told['reasons'], ours.json['reasons']):
        before['details'] = now['details']
    names = case.options['backends'].split(',') if (
        'backends' in case.options) else []
    assert [now['details'].partition(':')[0]
            for now in ours.json['reasons']] == names
    return _page(theirs.status, json.dumps(
        {'detailed': True, 'reasons': told['reasons']}, indent=4,
        sort_keys=True).encode(), 'application/json')


def _not_found(case, theirs, ours, files):
    return _page(404, b'Not Found')


def _below(case, theirs, ours, files):
    return wsgi.Answer(200, {'Content-Type': 'text/plain'}, b'below')


def _mapped(case, theirs, ours, files):
    return _page(503, b'DISABLED BY FILE')


def _our_pages(case, theirs, ours, files):
    ready = _page(503, b'OK\nDISABLED BY FILE')
    return {'/': ready, '/ready': ready, '/live': _page(200, b'OK'),
            '/disable_by_file': _page(503, b'DISABLED BY FILE'),
            }.get(case.path, _page(404, b'Not Found'))


def _error(case, theirs, ours, files):
    return exceptions.ConfigError


# In the order in which they apply.
ROWS = {
    'Detailed pages': (
        lambda case: case.options.get('detailed') is True
        and case.method == 'GET'
        and any(kind in (case.accept or '').lower()
                for kind in ('html', 'application/json'))
        and case.accept not in ('application/json;q=0',
                                'application/json;q=0, */*',
                                'text/html;q=0.3, text/plain;q=0.3',
                                'text/html;level=1'), _curt),
    '``Accept: application/health+json``': (
        lambda case: case.accept == 'application/health+json',
        _health_json),
    'Methods other than ``GET``, ``HEAD`` and ``OPTIONS``': (
        lambda case: case.method not in ('GET', 'HEAD', 'OPTIONS'),
        _not_allowed),
    'Paths below the mount point': (
        lambda case: not _is_page(case), _our_pages),
    'An IPv4 address written as IPv6, such as ``::ffff:192.0.2.1``': (
        lambda case: case.more.get('REMOTE_ADDR') == '::ffff:127.0.0.1',
        _mapped),
    'A caller without an IP address, as on a UNIX socket': (
        lambda case: case.more.get('REMOTE_ADDR') in (
            ('unix',) if IS_APP else ('unix', '')), _below),
    'Header ``Forwarded`` (RFC 7239), with ``ignore_proxied_requests``': (
        lambda case: bool(case.more.get('HTTP_FORWARDED')), _below),
    'An app, asked by a caller whom it does not answer': (
        lambda case: case.mounted and _is_declined(case), _not_found),
    '``HEAD``, when healthy': (
        lambda case: case.method == 'HEAD' and not any(
            options.items() <= case.options.items() for options in UNWELL),
        _with_length),
    'Each answer': (
        lambda case: _loads(case) and (
            case.mounted or not _is_declined(case)), _without_caching),
    'A misspelt backend, or a bad ``disable_by_file_paths``': (
        _wrong, _error),
}


def test_every_difference_is_in_the_table(files):
    needed = set()
    for case in cases():
        theirs = case.ask(oslo_middleware.Healthcheck, files)
        ours = case.ask(healthcheck.Healthcheck, files)
        if _refused(case):
            # Both refuse; ours says which option, and what is allowed.
            assert isinstance(theirs, Exception), case
            assert isinstance(ours, exceptions.ConfigError), case
            continue
        wanted = theirs
        for title, (applies, change) in ROWS.items():
            if applies(case):
                changed = change(case, wanted, ours, files)
                if changed != wanted:
                    needed.add(title)
                wanted = changed
        if isinstance(wanted, type):
            assert isinstance(ours, wanted), case
        else:
            assert ours == wanted, case
    with TABLE.open() as lines:
        table = [row['Where'] for row in csv.DictReader(lines)]
    assert len(table) == len(set(table))
    assert needed == set(ROWS)
    assert set(table) == needed | ELSEWHERE


# Those of other tests.
ELSEWHERE = {'As a paste filter', 'A plugin that raises',
             # As tests/unit/test_threads.py has it.
             'A plugin that hangs'}


class Raises(pluginbase.HealthcheckBaseExtension):
    def healthcheck(self, server_port):
        raise ValueError('a secret')


def test_plugin_that_raises(files, plugin):
    plugin(raises=f'{__name__}:Raises')
    case = Case({'backends': 'raises', 'sharing': 'process', 'fall': 1,
                 'startup_wait': 20})
    assert isinstance(case.ask(oslo_middleware.Healthcheck, files),
                      ValueError)
    app = healthcheck.Healthcheck(None, read(case.options, files))
    try:
        ours = wsgi.ask(app, '')
    finally:
        app.stop(10)
    assert (ours.status, ours.text) == (503, 'PROBE ERROR')


def test_filter():
    ours = healthcheck.Healthcheck.factory({})(wsgi.below)
    assert wsgi.ask(ours).status == 200
    assert wsgi.ask(ours, '/other').text == 'below'
    if IS_APP:
        with pytest.raises(NotImplementedError):
            oslo_middleware.Healthcheck.factory({})
    else:
        theirs = oslo_middleware.Healthcheck.factory({})(wsgi.below)
        assert wsgi.ask(theirs).status == 200
        assert wsgi.ask(theirs, '/other').text == 'below'


def changes():
    """What the page changes in each of its blocks, and the new text."""
    text = (DOCS / 'upgrade.rst').read_text()
    for block in re.findall(r'code-block:: diff\n\n((?:\n| +.*\n)+)', text):
        lines = textwrap.dedent(block).splitlines()
        yield ([line for line in lines if line.startswith(('+', '-'))],
               ''.join(f'{line[1:]}\n' for line in lines
                       if not line.startswith('-')))


def test_the_page_changes_one_line(tmp_path):
    found = list(changes())
    assert len(found) == 4
    for changed, _ in found:
        assert [line[0] for line in changed] == ['-', '+'], changed
    app, filter_, code, _ = (after for _, after in found)
    paste = tmp_path / 'api-paste.ini'
    paste.write_text(
        f'{app}\n{filter_}\n[pipeline:below]\npipeline = healthcheck app\n'
        '[app:app]\npaste.app_factory = tests.unit.test_upgrade:make_below\n')
    assert wsgi.ask(deploy.loadapp(f'config:{paste}', name='healthcheck'),
                    '').text == 'OK'
    loaded = deploy.loadapp(f'config:{paste}', name='below')
    assert wsgi.ask(loaded).text == 'OK'
    assert wsgi.ask(loaded, '/other').text == 'below'
    names = {'CONF': cfg.ConfigOpts()}
    names['CONF']([], default_config_files=[], default_config_dirs=[])
    exec(code, names)
    assert wsgi.ask(names['healthcheck_app'], '').status == 200


def make_below(global_conf, **local_conf):
    return wsgi.below
