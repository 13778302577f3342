# SPDX-License-Identifier: Apache-2.0

"""Plugin worker: what it makes of the readings, and the readings."""

from __future__ import annotations

import gc
import os
import resource
import sys
import types

import pytest
import sqlalchemy
from sqlalchemy import pool

from healthcheck.plugins import base
from healthcheck.plugins import resources
from healthcheck.plugins import worker

Use = resources.Use
MIB = 1 << 20


class Readings:
    """What a process would read; a test changes what it is about."""

    def __init__(self):
        self.read = {'descriptors': Use(10, 1024), 'memory': None,
                     'tasks': None, 'threads': 7}

    def __getattr__(self, name):
        return lambda: self.read[name]


@pytest.fixture
def make(conf):
    """A plugin that owns its readings."""
    def make(**options):
        lines = ''.join(f'{key} = {value}\n'
                        for key, value in options.items())
        plugin = worker.Worker(conf('[healthcheck]\n' + lines), {})
        plugin.process = Readings()
        plugin.exhausted_pools = lambda: []
        plugin.busy_workers = lambda: None
        plugin.sleep = lambda seconds: None
        return plugin
    return make


def test_all_is_well(make):
    result = make().probe()
    assert result == base.Result(
        base.Status.PASS, 'OK', 'descriptors 10 of 1024; threads 7')
    assert worker.Worker.per_worker


@pytest.mark.parametrize('options, readings, reason, detail', [
    ({}, {'descriptors': Use(921, 1024)}, 'OK', 'descriptors 921 of 1024'),
    ({}, {'descriptors': Use(922, 1024)}, 'DESCRIPTORS LOW',
     'descriptors 922 of 1024'),
    ({'worker_max_descriptors': 0.5}, {'descriptors': Use(513, 1024)},
     'DESCRIPTORS LOW', 'descriptors 513 of 1024'),
    ({}, {'descriptors': None}, 'OK', 'threads 7'),
    ({}, {'memory': Use(95 * MIB, 100 * MIB)}, 'OK', 'memory 95 of 100 MiB'),
    ({}, {'memory': Use(96 * MIB, 100 * MIB)}, 'MEMORY LOW',
     'memory 96 of 100 MiB'),
    ({'worker_max_memory': 0.5}, {'memory': Use(51 * MIB, 100 * MIB)},
     'MEMORY LOW', 'memory 51 of 100 MiB'),
    ({}, {'tasks': Use(90, 100)}, 'OK', 'tasks 90 of 100'),
    ({}, {'tasks': Use(91, 100)}, 'TASKS LOW', 'tasks 91 of 100'),
    ({'worker_max_threads': 7}, {}, 'OK', 'threads 7 of 7'),
    ({'worker_max_threads': 6}, {}, 'TOO MANY THREADS', 'threads 7 of 6'),
])
def test_thresholds(options, readings, reason, detail, make):
    plugin = make(**options)
    plugin.process.read.update(readings)
    result = plugin.probe()
    assert (result.reason, detail in result.detail) == (reason, True), result


def test_first_reason_and_all_figures(make):
    plugin = make()
    plugin.process.read.update(memory=Use(MIB, MIB), tasks=Use(1, 1))
    assert plugin.probe() == base.Result.failed(
        'MEMORY LOW', 'descriptors 10 of 1024; memory 1 of 1 MiB; '
                      'tasks 1 of 1; threads 7')


def test_exhausted_pool(make):
    plugin = make()
    plugin.exhausted_pools = lambda: [('nova', Use(15, 15))]
    assert plugin.probe() == base.Result.failed(
        'POOL EXHAUSTED',
        'descriptors 10 of 1024; threads 7; connections to nova 15 of 15')


@pytest.mark.parametrize('busy, reason', [
    ([4], 'ALL WORKERS BUSY'),
    ([3], 'OK'),
    ([4, 4, 4, 4, 3], 'OK'),     # good use of them, and no exhaustion
    ([4, 4, 4, 4, 4, 3], 'ALL WORKERS BUSY'),
])
def test_busy_workers(busy, reason, make):
    plugin = make()
    looks, pauses = iter([*busy, *[4] * 9][:9] if len(busy) > 1
                         else busy * 9), []
    plugin.busy_workers = lambda: Use(next(looks), 4)
    plugin.sleep = pauses.append
    assert plugin.probe().reason == reason
    assert sum(pauses) < 1.0     # or each probe would be a slow one


@pytest.fixture
def uwsgi(monkeypatch):
    module = types.ModuleType('uwsgi')
    module.cores = 1
    monkeypatch.setitem(sys.modules, 'uwsgi', module)

    def tell(*states):
        module.workers = lambda: tuple(
            {'id': n, 'status': state} for n, state in enumerate(states))
    module.tell = tell
    return module


def test_what_uwsgi_tells(uwsgi):
    uwsgi.tell(b'busy', b'idle', b'cheap', b'busy')
    assert resources.busy_workers() == Use(2, 3)
    uwsgi.cores = 4      # busy is one of them, and we cannot see which
    assert resources.busy_workers() is None


def test_another_server_does_not_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, 'uwsgi', None)
    assert resources.busy_workers() is None


@pytest.fixture
def tree(tmp_path):
    """A /proc and a /sys of one's own, from ``{path: text}``."""
    def grow(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(str(text))
        return resources.Process(tmp_path)
    return grow


V2 = {'proc/self/mountinfo':
      '30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n'}
SLICE = 'sys/fs/cgroup/system.slice'
NOVA = f'{SLICE}/nova.service'


def test_memory_v2(tree):
    process = tree({
        **V2, 'proc/self/cgroup': '0::/system.slice/nova.service\n',
        f'{NOVA}/memory.max': '1000\n', f'{NOVA}/memory.current': '900\n',
        f'{NOVA}/memory.stat': 'anon 1\ninactive_file 400\n'})
    assert process.memory() == Use(500, 1000)


def test_memory_of_the_cgroup_nearest_to_its_limit(tree):
    process = tree({
        **V2, 'proc/self/cgroup': '0::/system.slice/nova.service\n',
        f'{NOVA}/memory.max': '1000', f'{NOVA}/memory.current': '100',
        f'{SLICE}/memory.max': '2000', f'{SLICE}/memory.current': '1990'})
    assert process.memory() == Use(1990, 2000)


@pytest.mark.parametrize('most', ['max', str(9223372036854771712)])
def test_no_limit_is_nothing_to_say(most, tree):
    process = tree({
        **V2, 'proc/self/cgroup': '0::/system.slice/nova.service\n',
        f'{NOVA}/memory.max': most, f'{NOVA}/memory.current': '100'})
    assert process.memory() is None


V1 = {'proc/self/mountinfo':
      '34 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n'
      '38 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n'
      '40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n',
      'proc/self/cgroup': '5:pids:/a\n4:memory:/a/b\n0::/\n'}


def test_version_1(tree):
    top = 'sys/fs/cgroup'
    process = tree({
        **V1, f'{top}/memory/a/memory.limit_in_bytes': '1000',
        f'{top}/memory/a/memory.usage_in_bytes': '900',
        f'{top}/memory/a/memory.stat': 'inactive_file 1\n'
                                       'total_inactive_file 100\n',
        f'{top}/pids/a/pids.max': '50', f'{top}/pids/a/pids.current': '20'})
    assert process.memory() == Use(800, 1000)
    assert process.tasks() == Use(20, 50)


def test_in_a_container_that_sees_the_path_of_its_host(tree):
    process = tree({
        'proc/self/mountinfo': '30 23 0:26 /docker/1f /sys/fs/cgroup rw - '
                               'cgroup2 cgroup rw\n',
        'proc/self/cgroup': '0::/docker/1f\n',
        'sys/fs/cgroup/memory.max': '10', 'sys/fs/cgroup/memory.current': '9',
        'sys/fs/cgroup/pids.max': '10', 'sys/fs/cgroup/pids.current': '7'})
    assert process.memory() == Use(9, 10)
    assert process.tasks() == Use(7, 10)


def test_no_cgroups_at_all(tree):
    process = tree({'proc/self/status': 'Name:\tx\nThreads:\t12\n'})
    assert process.memory() is None
    assert process.tasks() is None
    assert process.threads() == 12


def test_readings_of_this_process():
    process = resources.Process()
    use = process.descriptors()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        more = process.descriptors()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert more.used - use.used == 20
    assert use.limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert process.threads() >= 1


@pytest.fixture
def engine():
    """Make engines of SQLite, in memory, as a service does."""
    resources.watch_pools()
    made = []

    def make(poolclass=pool.QueuePool, **options):
        made.append(sqlalchemy.create_engine(
            'sqlite:///:memory:', poolclass=poolclass, **options))
        return made[-1]
    yield make
    for one in made:
        one.dispose()


def exhausted():
    return [use for _, use in resources.exhausted_pools()]


def test_pools(engine):
    one = engine(pool_size=1, max_overflow=1)
    first = one.connect()
    assert exhausted() == []
    with one.connect():
        assert exhausted() == [Use(2, 2)]
        # Another engine on the same pool is not another pool.
        with pytest.raises(sqlalchemy.exc.TimeoutError):
            one.pool._timeout = 0
            one.execution_options(isolation_level='SERIALIZABLE').connect()
        assert exhausted() == [Use(2, 2)]
    assert exhausted() == []
    first.close()


@pytest.mark.parametrize('options', [
    {'pool_size': 1, 'max_overflow': -1}, {'pool_size': 0},
    {'poolclass': pool.NullPool}, {'poolclass': pool.StaticPool}])
def test_pools_without_an_end(options, engine):
    with engine(**options).connect():
        assert exhausted() == []


def test_engines_are_not_kept(engine):
    one = sqlalchemy.create_engine('sqlite:///:memory:',
                                   poolclass=pool.QueuePool)
    key = id(one)
    one.connect().close()
    assert key in resources._engines
    one.dispose()
    del one
    gc.collect()
    assert key not in resources._engines
