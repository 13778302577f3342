# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

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
