# SPDX-License-Identifier: Apache-2.0

"""The rules of the house: imports point one way, one name is one thing."""

import ast
import collections
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2] / 'healthcheck'
DOCS = ROOT.parent / 'doc' / 'source'

# From the bottom up: each may import what stands before it.
ORDER = ['exceptions', 'reports', 'config', 'probing', 'targets', 'cells',
         'answers', 'host', 'listeners', 'evidence', 'fleet', 'engine',
         'plugins', 'plugin', 'admin', 'middleware', 'serving', 'wsgi', 'cmd']

# About as much as can be read in one sitting; more has to be worth it.
LINES = 330


def modules():
    for path in sorted(ROOT.rglob('*.py')):
        inside = path.relative_to(ROOT)
        if str(inside) != '__init__.py':
            yield inside, ast.parse(path.read_text())


def room(name):
    return name.split('.')[1]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and (
                node.module.split('.')[0] == 'healthcheck'):
            for alias in node.names:
                yield f'{node.module}.{alias.name}'
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names
                        if alias.name.startswith('healthcheck.'))


def test_every_room_has_its_place():
    rooms = {path.name.removesuffix('.py') for path in ROOT.iterdir()
             if path.suffix == '.py' or (path / '__init__.py').exists()}
    assert rooms - {'__init__'} == set(ORDER)


@pytest.mark.parametrize('path, tree', [
    pytest.param(*one, id=str(one[0])) for one in modules()])
def test_imports_point_one_way(path, tree):
    here = ORDER.index(path.parts[0].removesuffix('.py'))
    for name in imports(tree):
        assert ORDER.index(room(name)) <= here, name


def test_modules_make_no_circle():
    found = {}
    for path, tree in modules():
        name = '.'.join(('healthcheck', *path.with_suffix('').parts))
        found[name.removesuffix('.__init__')] = list(imports(tree))

    def follow(name, way):
        assert name not in way, ' -> '.join([*way, name])
        for other in found.get(name, ()):
            if (name, other) not in seen:
                seen.add((name, other))
                follow(other, [*way, name])
    seen = set()
    for name in found:
        follow(name, [])


def test_a_class_name_stands_for_one_thing():
    places = collections.defaultdict(list)
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    assert not {name: where for name, where in places.items()
                if len(where) > 1}


def test_a_module_can_be_read_in_one_sitting():
    assert not {str(path): count for path, _ in modules() if (
        count := (ROOT / path).read_text().count('\n')) > LINES}


def test_each_module_begins_with_its_licence():
    for path, _ in modules():
        text = (ROOT / path).read_text()
        assert not text or text.startswith(
            '# SPDX-License-Identifier: Apache-2.0\n'), path


def test_threads_leave_signals_to_the_server():
    for path, tree in modules():
        if str(path) not in ('probing/daemons.py', 'serving/loader.py'):
            assert not [node.lineno for node in ast.walk(tree) if isinstance(
                node, ast.Call) and ast.unparse(node.func).endswith(
                ('threading.Thread', 'threading.Timer'))], (
                f'{path}: start it with healthcheck.probing.daemons')


def names_in(node):
    """What a module or a class defines: classes, functions, variables."""
    for one in ast.walk(node):
        if isinstance(one, (ast.ClassDef, ast.FunctionDef)):
            yield one.name
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        elif isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            yield one.attr


def docstrings():
    for path, tree in modules():
        for node in ast.walk(tree):
            # With those of variables, which are strings and nothing more.
            if isinstance(node, ast.Expr) and isinstance(
                    node.value, ast.Constant) and isinstance(
                    node.value.value, str):
                yield path, node.value.value


def test_what_the_design_and_docstrings_name_exists():
    classes = {node.name: set(names_in(node)) for _, tree in modules()
               for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    everything = {path.stem for path, _ in modules()}.union(
        *(names_in(tree) for _, tree in modules()))
    design = (DOCS / 'design.rst').read_text()
    walks = [('design.rst', name) for name in re.findall(
        r'``([A-Z]\w+\.\w+)``', design)]
    roles = [(str(path), name) for path, text in docstrings()
             for name in re.findall(r':[a-z]+:`~?([\w.]+)`', text)]
    assert len(walks) > 15 and len(roles) > 50
    for where, name in walks + roles:
        *_, owner, last = ['', *name.split('.')]
        known = classes.get(owner, everything)
        assert last in known, f'{where}: {name}'
    for name in re.findall(r'``((?:\w+/)*\w+\.(?:py|csv))``', design):
        assert list(ROOT.rglob(name)) + list(
            ROOT.parent.glob(name)), f'design.rst: {name}'
