# make demo       run the demonstration (needs Python and pip only)
# make check      lint, types and unit tests, in a minute and a half
# make test       everything CI checks: lint, docs, unit and functional tests
# make newest     the same with the newest release of everything
# make constraints  pin the newest releases, for all but make newest
# make soak       ten minutes of faults at random (SOAK_SECONDS, SOAK_SEED),
#                 and hostile input (FUZZ_FACTOR, FUZZ_SEED)
# make services   OpenStack's services from PyPI, each with the health check:
#                 20 minutes, and the table in the documentation
# make benchmark  measure the cost of a health check under load; what cells
#                 cost beside another revision (AGAINST)
# make docs       build the documentation
# make pictures   take those of the status page again, in Chromium
#
# ARGS goes to the program that is run: make unit ARGS='-k cache'

PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
BIN := $(VENV)/bin
ARGS ?=
# Empty to install the newest releases instead of those in constraints files.
PINNED := yes

# pip install, into $(1), with the constraints $(2) if there are any. A pip
# before 25.3 builds packages with the first variable, later ones with the
# second.
install = $(if $(PINNED),PIP_CONSTRAINT=$(2) PIP_BUILD_CONSTRAINT=$(2)) \
    $(1)/bin/pip install -q
# An empty virtual environment.
define environment
$(PYTHON) -m venv $(1)
$(install) --upgrade pip setuptools
endef
pins = $(if $(PINNED),$(1))

.DELETE_ON_ERROR:
.PHONY: demo check test lint style types notes unit oldest functional soak \
        services benchmark docs pictures clean test-packages \
        benchmark-packages \
        environments newest-environments newest constraints

# Some jobs at the same time, two for two processors. What one of them says
# comes at its end, in one piece.
together = $(MAKE) -j 2 --output-sync=target

# First what is installed, which is no work for two at a time.
check: $(VENV)/test-installed
	+$(together) unit lint

# Tests use all processors by themselves, and some of them look at the clock.
test: environments
	+$(together) lint docs
	$(MAKE) unit
	$(MAKE) oldest
	$(MAKE) functional

demo: $(VENV)/installed
	$(BIN)/healthcheck-demo $(ARGS)

lint: style types notes

style: $(VENV)/test-installed
	$(BIN)/flake8

types: $(VENV)/test-installed
	$(BIN)/mypy healthcheck benchmarks

notes: $(VENV)/test-installed
	$(BIN)/reno -q lint

# A leaked socket or file is a failure here. Not so with real drivers, some
# of which leak one when a connection fails. ARGS='-n 0' for a debugger.
unit: $(VENV)/test-installed
	$(BIN)/python -m pytest tests/unit -n 2 -W error::ResourceWarning \
	    -W error::pytest.PytestUnraisableExceptionWarning $(ARGS)

# The unit tests once more, with the oldest releases that we promise.
oldest: $(VENV)-oldest/installed
	$(VENV)-oldest/bin/python -m pytest tests/unit -n 2 $(ARGS)

# Four at a time, each with servers of its own: on two processors, because most
# of what they do is to wait. The longest files come first, see the conftest. A
# line for each cause that tests were skipped for.
functional: $(VENV)/test-installed $(VENV)-nova/installed
	HEALTHCHECK_NOVA_VENV=$(VENV)-nova \
	    $(BIN)/python -m pytest tests/functional -n 4 --dist loadfile \
	    --no-loadscope-reorder -rfEs $(ARGS)

soak: $(VENV)/test-installed
	FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} FUZZ_FACTOR=$${FUZZ_FACTOR:-60} \
	    $(BIN)/python -m pytest tests/unit/test_fuzz.py -s
	$(BIN)/python -m pytest tests/soak -s $(ARGS)

# Needs the right to mount over /etc, for itself alone. A row of the table for
# each test that was run.
services: $(VENV)/test-installed $(VENV)-services/installed
	HEALTHCHECK_SERVICES_VENV=$(VENV)-services \
	    $(BIN)/python -m pytest tests/services -p no:randomly -rfEs $(ARGS)

benchmark: benchmark-packages $(VENV)/test-installed
	$(BIN)/python -m benchmarks $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

docs: $(VENV)/docs-installed
	$(BIN)/sphinx-build -W --keep-going -b html doc/source doc/build/html

pictures: $(VENV)/test-installed
	$(BIN)/python -m doc.pictures

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-nova $(VENV)-services \
	    $(NEWEST) $(NEWEST)-oldest $(NEWEST)-nova $(NEWEST)-services \
	    build dist doc/build *.egg-info .eggs .hypothesis .mypy_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package with what it needs at run time. A stamp is younger than all
# that it was made from, so nothing is installed twice.
$(VENV)/installed: requirements.txt setup.cfg setup.py pyproject.toml \
    $(call pins,constraints.txt)
	$(call environment,$(VENV),constraints.txt)
	$(call install,$(VENV),constraints.txt) -e '.[demo]'
	touch $@

$(VENV)/bindep-installed: $(VENV)/installed
	$(call install,$(VENV),constraints.txt) bindep
	touch $@

# The system packages come first: drivers are compiled against them.
$(VENV)/test-installed: $(VENV)/installed test-requirements.txt | test-packages
	$(call install,$(VENV),constraints.txt) -r test-requirements.txt
	touch $@

$(VENV)/docs-installed: $(VENV)/installed doc/requirements.txt
	$(call install,$(VENV),constraints.txt) -r doc/requirements.txt
	touch $@

$(VENV)-oldest/installed: requirements.txt test-requirements.txt \
    oldest-requirements.txt setup.cfg $(call pins,oldest-constraints.txt) \
    | test-packages
	$(call environment,$(VENV)-oldest,oldest-constraints.txt)
	$(call install,$(VENV)-oldest,oldest-constraints.txt) \
	    -e . -r test-requirements.txt -r oldest-requirements.txt
	touch $@

# Apart from ours, so that Nova's requirements and ours do not bind each other:
# in a deployment, too, nova-manage is another program.
$(VENV)-nova/installed: nova-requirements.txt \
    $(call pins,nova-constraints.txt)
	$(call environment,$(VENV)-nova,nova-constraints.txt)
	$(call install,$(VENV)-nova,nova-constraints.txt) -r nova-requirements.txt
	touch $@

# All services in one: their requirements agree. So does ours with them, which
# is what a deployer does.
$(VENV)-services/installed: services-requirements.txt requirements.txt \
    setup.cfg $(call pins,services-constraints.txt)
	$(call environment,$(VENV)-services,services-constraints.txt)
	$(call install,$(VENV)-services,services-constraints.txt) \
	    -e . -r services-requirements.txt
	touch $@

environments: $(VENV)/test-installed $(VENV)/docs-installed \
    $(VENV)-oldest/installed $(VENV)-nova/installed

# From scratch, so that nothing of another day is left in them.
newest-environments:
	rm -rf $(NEWEST) $(NEWEST)-oldest $(NEWEST)-nova
	$(MAKE) VENV=$(NEWEST) PINNED= environments

newest: newest-environments
	$(MAKE) VENV=$(NEWEST) PINNED= test

constraints: newest-environments
	rm -rf $(NEWEST)-services
	$(MAKE) VENV=$(NEWEST) PINNED= $(NEWEST)-services/installed
	tools/freeze.sh $(NEWEST) constraints.txt
	tools/freeze.sh $(NEWEST)-oldest oldest-constraints.txt
	tools/freeze.sh $(NEWEST)-nova nova-constraints.txt
	tools/freeze.sh $(NEWEST)-services services-constraints.txt
	tools/system-packages.sh $(NEWEST)/bin/bindep > system-packages.txt

test-packages: $(VENV)/bindep-installed
	tools/install-packages.sh $(BIN)/bindep test

benchmark-packages: $(VENV)/bindep-installed
	tools/install-packages.sh $(BIN)/bindep benchmark
