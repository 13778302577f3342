# SPDX-License-Identifier: Apache-2.0

"""What is imported is required, and what is required is imported."""

import ast
import configparser
from importlib import metadata
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]

# SQLAlchemy and tooz import a driver of the name that a URL has.
BY_NAME = {'etcd3gw', 'mysqlclient', 'psycopg', 'psycopg2', 'redis'}

# A server has it built in.
BUILT_IN = {'uwsgi'}


def names(text):
    """The distributions that lines of requirements name."""
    return {re.match(r'[\w.-]+', line)[0] for line in text.splitlines()
            if line and not line.startswith('#')}


def required():
    """What the package is installed with, extras included, by its name."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    texts = [(ROOT / 'requirements.txt').read_text(),
             *parser['extras'].values()]
    return set().union(*map(names, texts)) - BY_NAME


def modules_of(distribution):
    """The top-level modules that a distribution installs."""
    return {path.parts[0].partition('.')[0]
            for path in metadata.files(distribution)
            if path.suffix in ('.py', '.so')}


class Imports(ast.NodeVisitor):
    """Collects the top-level modules that code imports when it runs."""

    def __init__(self):
        self.found = set()

    def visit_If(self, node):
        if ast.unparse(node.test) != 'TYPE_CHECKING':
            self.generic_visit(node)

    def visit_Import(self, node):
        self.found.update(name.name.partition('.')[0] for name in node.names)

    def visit_ImportFrom(self, node):
        assert node.level == 0
        self.found.add(node.module.partition('.')[0])


def imported():
    imports = Imports()
    for path in (ROOT / 'healthcheck').rglob('*.py'):
        imports.visit(ast.parse(path.read_text()))
    return (imports.found - BUILT_IN
            - {'healthcheck', *sys.stdlib_module_names})


def test_what_is_imported_is_required():
    """Not by what we require alone: it may do without one day."""
    provided = set().union(*map(modules_of, required()))
    assert imported() - provided == set()


def test_what_is_required_is_imported():
    used = imported()
    assert {name for name in required()
            if not modules_of(name) & used} == set()
