# SPDX-License-Identifier: Apache-2.0

"""How Sphinx builds the documentation; see ``make docs``."""

from docutils import nodes

project = 'openstack-healthcheck'
copyright = '2026, openstack-healthcheck contributors'

extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxext',
    'reno.sphinxext',
    'sphinx.ext.autodoc',
]

html_theme = 'openstackdocs'
html_theme_options = {'show_other_versions': False}
# The theme would look the repository up on OpenStack's servers.
openstackdocs_auto_name = False
openstackdocs_auto_version = False

autodoc_member_order = 'bysource'
exclude_patterns = ['examples']


def _name_reasons(app, doctree):
    """Give each row of the table of reasons an anchor: #reason-no-answer."""
    if app.env.docname != 'admin':
        return
    for row in doctree.findall(nodes.row):
        reasons = row[0].astext()
        if reasons.isupper():
            row['ids'].append(nodes.make_id(f'reason-{reasons}'))


def setup(app):
    app.connect('doctree-read', _name_reasons)
