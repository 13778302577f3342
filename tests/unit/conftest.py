# SPDX-License-Identifier: Apache-2.0

"""What several unit tests need."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from importlib import metadata
import itertools
import pathlib
import textwrap

from oslo_config import cfg
import pytest
from stevedore import extension

import healthcheck

NAMESPACE = 'oslo.middleware.healthcheck'


@pytest.fixture(autouse=True)
def untouched_global_conf():
    """Fail whoever writes into the service's configuration."""
    cfg.CONF.reset()
    cfg.CONF([], project='nobody', default_config_files=[])
    yield
    for name, entry in cfg.CONF._groups.items():
        for opt in entry._opts.values():
            assert 'override' not in opt, (name, opt)


_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes share there by default; no test shares with another one."""
    # Not with mktemp(), which looks at all that it has made before.
    made = tmp_path_factory.getbasetemp() / f'temporary-{next(_NUMBERS)}'
    made.mkdir()
    monkeypatch.setenv('TMPDIR', str(made))


@pytest.fixture
def conf(tmp_path: pathlib.Path) -> Callable[[str], cfg.ConfigOpts]:
    """Make a service's configuration from the text of its file."""
    def make(text: str) -> cfg.ConfigOpts:
        path = tmp_path / 'service.conf'
        path.write_text(textwrap.dedent(text))
        made = cfg.ConfigOpts()
        made(['--config-file', str(path)])
        return made
    return make


@functools.cache
def installed() -> Sequence[metadata.EntryPoint]:
    """The plugins that are installed: to find them takes 0.1 s."""
    return metadata.entry_points(group=NAMESPACE)


installed_packages = functools.cache(metadata.packages_distributions)


@pytest.fixture
def plugin(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
           ) -> Callable[..., None]:
    """Install plugins, by entry points, as a distribution would.

    ``plugin(name='module:Class', ...)``
    """
    def install(**entry_points: str) -> None:
        directory = tmp_path / 'site'
        info = directory / 'stubs-1.0.dist-info'
        info.mkdir(parents=True, exist_ok=True)
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: stubs\n'
                                       'Version: 1.0\n')
        lines = [f'{name} = {target}'
                 for name, target in entry_points.items()]
        (info / 'entry_points.txt').write_text(
            f'[{NAMESPACE}]\n' + '\n'.join(lines) + '\n')
        # Before this one can be found, so that it is not kept.
        others = installed()
        installed_packages()
        monkeypatch.syspath_prepend(str(directory))
        # What a search of the whole path finds, without the search.
        own = metadata.Distribution.at(info).entry_points
        monkeypatch.setattr(extension.ExtensionManager, 'ENTRY_POINT_CACHE',
                            {NAMESPACE: [*own, *others]})
        monkeypatch.setattr(metadata, 'packages_distributions',
                            installed_packages)
    return install


@pytest.fixture
def door():
    """Make a ``Healthcheck`` that is stopped when the test is over."""
    made = []

    def make(application, conf=None, **kwargs):
        made.append(healthcheck.Healthcheck(application, conf, **kwargs))
        return made[-1]
    yield make
    for one in made:
        one.stop(5)
