# make demo       run the demonstration (needs Python and pip only)
# make test       everything CI checks: lint, docs, unit and functional tests
# make soak       ten minutes of faults at random (SOAK_SECONDS, SOAK_SEED)
# make benchmark  measure the cost of a health check under load
# make docs       build the documentation
#
# ARGS goes to the program that is run: make unit ARGS='-k cache'

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DELETE_ON_ERROR:
.PHONY: demo test lint unit oldest functional soak benchmark docs clean \
        test-packages benchmark-packages

# One after the other, so that the tests have the machine to themselves.
test:
	$(MAKE) lint
	$(MAKE) docs
	$(MAKE) unit
	$(MAKE) oldest
	$(MAKE) functional

demo: $(VENV)/installed
	$(BIN)/healthcheck-demo $(ARGS)

lint: $(VENV)/test-installed
	$(BIN)/flake8
	$(BIN)/mypy healthcheck
	$(BIN)/reno -q lint

# A leaked socket or file is a failure here. Not so with real drivers, some
# of which leak one when a connection fails.
unit: $(VENV)/test-installed
	$(BIN)/python -m pytest tests/unit -W error::ResourceWarning \
	    -W error::pytest.PytestUnraisableExceptionWarning $(ARGS)

# The unit tests once more, with the oldest releases that we promise.
oldest: $(VENV)-oldest/installed
	$(VENV)-oldest/bin/python -m pytest tests/unit $(ARGS)

# Two at a time, each with servers of its own: they wait more than they work.
functional: $(VENV)/test-installed $(VENV)-nova/installed
	HEALTHCHECK_NOVA_VENV=$(VENV)-nova \
	    $(BIN)/python -m pytest tests/functional -n 2 --dist loadfile $(ARGS)

soak: $(VENV)/test-installed
	$(BIN)/python -m pytest tests/soak -s $(ARGS)

benchmark: benchmark-packages $(VENV)/test-installed
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/docs-installed
	$(BIN)/sphinx-build -W --keep-going -b html doc/source doc/build/html

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-nova build dist doc/build *.egg-info \
	    .eggs .hypothesis .mypy_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package with what it needs at run time. A stamp is younger than all
# that it was made from, so nothing is installed twice.
$(VENV)/installed: requirements.txt setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[demo]'
	touch $@

$(VENV)/bindep-installed: $(VENV)/installed
	$(BIN)/pip install -q bindep
	touch $@

# The system packages come first: drivers are compiled against them.
$(VENV)/test-installed: $(VENV)/installed test-requirements.txt | test-packages
	$(BIN)/pip install -q -r test-requirements.txt
	touch $@

$(VENV)/docs-installed: $(VENV)/installed doc/requirements.txt
	$(BIN)/pip install -q -r doc/requirements.txt
	touch $@

$(VENV)-oldest/installed: requirements.txt test-requirements.txt \
    oldest-constraints.txt setup.cfg | test-packages
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/pip install -q -c oldest-constraints.txt \
	    -e . -r test-requirements.txt
	touch $@

# Apart from ours, so that Nova's requirements and ours do not bind each other:
# in a deployment, too, nova-manage is another program.
$(VENV)-nova/installed: nova-requirements.txt
	$(PYTHON) -m venv $(VENV)-nova
	$(VENV)-nova/bin/pip install -q -r nova-requirements.txt
	touch $@

test-packages: $(VENV)/bindep-installed
	tools/install-packages.sh $(BIN)/bindep test

benchmark-packages: $(VENV)/bindep-installed
	tools/install-packages.sh $(BIN)/bindep benchmark
