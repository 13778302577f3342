# SPDX-License-Identifier: Apache-2.0

"""How Sphinx builds the documentation; see ``make docs``."""

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
