# Every target only calls what an operator would type; docs/operate.md shows the same commands one by one.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export FRAUD_CACHE ?= $(HOME)/.cache/fraud-detection
# a control node behind a TLS proxy has its CA in the system's store
export SSL_CERT_FILE ?= /etc/ssl/certs/ca-certificates.crt
export PIP_CERT ?= $(SSL_CERT_FILE)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
# Terraform would ask its maker for newer versions
export CHECKPOINT_DISABLE := 1
# by name: Ansible reads no ansible.cfg of a directory that everybody may write to
export ANSIBLE_CONFIG := $(CURDIR)/ansible/ansible.cfg
export ANSIBLE_FORCE_COLOR ?= $(shell test -t 1 && echo 1 || echo 0)
# looked up by the shell of each command: the step before may just have built it
TERRAFORM = "$$(command -v terraform || command -v tofu || echo terraform)"
# If this file is missing, Terraform would print a warning into the JSON of its output.
ifeq ($(wildcard $(TF_CLI_CONFIG_FILE)),)
unexport TF_CLI_CONFIG_FILE
endif
LAB := terraform/lab
# Files of this lab alone; Ansible and the commands find them by the root's name. Earlier versions kept Terraform's state in
# the root itself: -force-copy moves it here.
DEPLOYMENT := build/lab
export TERRAFORM_ROOT := $(LAB)

# What a user gives, as one word for the shell, and as text in YAML: it may have spaces and quotes.
quote = '$(subst ','\'',$(1))'
yaml = '$(subst ','',$(1))'

# The demo's input, a CSV or Parquet file: transactions before UNTIL train the model, later ones are streamed.
DATA ?=
override DATA := $(DATA:~/%=$(HOME)/%)
UNTIL ?= $(if $(DATA),,2025-04-18)
# Which of its columns is which, where their names do not tell, such as COLUMNS=customer_id=cc_num,amount=amt. Shells and
# terminals have their width in an environment variable of this name; it is neither read nor handed on.
ifneq ($(origin COLUMNS),command line)
override COLUMNS :=
endif
unexport COLUMNS
$(if $(COLUMNS),$(if $(DATA),,$(error COLUMNS needs DATA=file, whose columns it tells)))
data_options = $(if $(DATA),--data $(call quote,$(DATA)) --columns-option COLUMNS=) $(if $(COLUMNS),--columns $(call quote,$(COLUMNS)))
# not empty where a user gives one of them
given = $(DATA)$(filter-out file,$(origin UNTIL))
# nobody who gives neither asks for another model than the one in use
promoted_stays = $(if $(given),,-e training_replaces=false)
LIMIT ?= 60000
RATE ?= 1000
# Histories reach so far back: transactions of these days before UNTIL are streamed first, once for each lab, DATA, UNTIL and
# COLUMNS. Any character may stand between day and hour, but no / in a file's name.
PAST_DAYS := 37
PAST := $(DEPLOYMENT)/past-$(if $(DATA),$(notdir $(DATA)),simulation)-$(subst /,_,$(UNTIL))$(if $(COLUMNS),-$(firstword $(shell printf %s $(call quote,$(COLUMNS)) | cksum))).json
# A .tfvars file of terraform/lab, such as cluster.tfvars. It is remembered, so that a larger lab stays larger. TFVARS= (nothing)
# goes back to the default.
TFVARS ?=
POOLS := $(DEPLOYMENT)/pools.tfvars
# hosts that make up may delete although they hold data
DELETE ?=

# $(call step,what,command,what to do when it fails)
define step
printf '\n\033[1m==> %s\033[0m\n' $(call quote,$(1))
$(2) || { printf '\n\033[1m==> failed: %s\033[0m\n    %s\n' $(call quote,$(1)) $(call quote,$(3)) >&2; exit 1; }
endef

# DATA as seen from another folder
data = $(if $(findstring ://,$(DATA))$(filter /%,$(firstword $(DATA))),,$(CURDIR)/)$(DATA)
# whether TFVARS is given on the command line or in the environment, even empty
chosen = $(if $(filter file,$(origin TFVARS)),,yes)
pools = $(if $(TFVARS),-var-file=$(call quote,$(TFVARS)),$(if $(chosen),,$(addprefix -var-file=../../,$(wildcard $(POOLS)))))
remember_pools = $(if $(TFVARS),(cd $(LAB) && cat $(call quote,$(TFVARS))) >$(POOLS),$(if $(chosen),rm -f $(POOLS),true))

.PHONY: help demo checked plan up stream down evaluate lifecycle bench compare faults soak flood check test test-check test-roles test-lab test-slow test-machines lock

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## from a bare machine to the first alert; DATA=file UNTIL=time COLUMNS=map LIMIT=60000 RATE=1000
	@if [ -n $(call quote,$(DATA)) ] && [ -z $(call quote,$(UNTIL)) ]; then
	  echo 'make demo: DATA needs UNTIL=time (ISO 8601): a model is trained on what came before it; the rest is streamed' >&2
	  exit 2
	fi
	$(MAKE) --no-print-directory $(if $(given),checked) up stream

checked: .venv/installed
	@$(call step,Check $(or $(DATA),the simulation) and UNTIL,fraud-train --check $(data_options) --until $(call quote,$(UNTIL)),What is wrong with them stands above; no host was made.$(if $(COLUMNS), --columns is COLUMNS= here.)$(if $(findstring s3://,$(DATA)), What lies in the lab needs the lab: make up is the first step.))

plan: .venv/installed ## prepare this machine, and show which hosts make up would make, change or delete
	@mkdir -p $(DEPLOYMENT)
	$(call step,Prepare this machine,(cd ansible && ansible-playbook playbooks/control_node.yml),The task that failed stands above. Once its cause is mended: make up goes on from there.)
	$(call step,Plan the hosts,$(TERRAFORM) -chdir=$(LAB) init -input=false -force-copy && $(TERRAFORM) -chdir=$(LAB) plan -input=false -out=../../$(DEPLOYMENT)/plan $(pools) && $(TERRAFORM) -chdir=$(LAB) show -json ../../$(DEPLOYMENT)/plan | $(LAB)/scripts/check_plan.py $(call quote,$(DELETE)),What is wrong stands above; no host was changed.)

up: plan ## hosts, services, a model and the jobs; unchanged ones are left alone
	@$(remember_pools)
	$(call step,Make the hosts,$(TERRAFORM) -chdir=$(LAB) apply -input=false ../../$(DEPLOYMENT)/plan,The host that failed stands above; incus list shows what is there. Once its cause is mended: make up goes on from there.)
	rm -f $(DEPLOYMENT)/plan
	$(call step,Put the system on them,(cd ansible && ansible-playbook site.yml $(if $(DATA),-e $(call quote,{training_data: $(call yaml,$(data))})) $(if $(COLUMNS),-e $(call quote,{training_columns: $(call yaml,$(COLUMNS))})) -e $(call quote,{training_until: $(call yaml,$(UNTIL))}) $(promoted_stays)),Task and host that failed stand above; ssh -F $(DEPLOYMENT)/ssh_config HOST reaches it. Once its cause is mended: make up goes on from there.)

stream: ## the last part of make demo: send, print alerts, compare the results with the records sent
	@mkdir -p $(DEPLOYMENT)
	# a lab begins with a new key: what is older says what a former lab was sent
	if [ ! $(call quote,$(PAST)) -nt $(DEPLOYMENT)/ssh/id_ed25519.pub ]; then
	  printf '\n\033[1m==> %s\033[0m\n' 'Bring in what customers did in the $(PAST_DAYS) days before'
	  # read as everywhere else: date takes other forms
	  since=$$(python -c 'import sys, datetime; from training.instants import parse_instant; print(parse_instant(sys.argv[1]) - datetime.timedelta($(PAST_DAYS)))' $(call quote,$(UNTIL)))
	  fraud-producer $(data_options) --since "$$since" --until $(call quote,$(UNTIL)) --rate max --report $(DEPLOYMENT)/past-sent.json
	  fraud-audit --producer-report $(DEPLOYMENT)/past-sent.json --output $(DEPLOYMENT)/past-audit.json >$(DEPLOYMENT)/past-audit.txt || { cat $(DEPLOYMENT)/past-audit.txt; exit 1; }
	  mv $(DEPLOYMENT)/past-audit.json $(call quote,$(PAST))
	fi
	rm -f $(DEPLOYMENT)/consumer.ready $(DEPLOYMENT)/consumer-report.json $(DEPLOYMENT)/producer-report.json $(DEPLOYMENT)/demo-report.json
	printf '\n\033[1m==> %s\033[0m\n' $(call quote,Stream $(LIMIT) transactions at $(RATE) a second; alerts as they come)
	fraud-consumer --ready-file $(DEPLOYMENT)/consumer.ready --report $(DEPLOYMENT)/consumer-report.json &
	consumer=$$!
	trap 'kill -INT $$consumer 2>/dev/null || true; wait $$consumer || true' EXIT
	for _ in {1..600}; do if [ -e $(DEPLOYMENT)/consumer.ready ] || ! kill -0 $$consumer 2>/dev/null; then break; fi; sleep 0.1; done
	[ -e $(DEPLOYMENT)/consumer.ready ] || { echo 'make stream: fraud-consumer ended, or was not ready within 60 s; what it said stands above' >&2; exit 1; }
	fraud-producer $(data_options) --since $(call quote,$(UNTIL)) --limit $(call quote,$(LIMIT)) --rate $(call quote,$(RATE)) --report $(DEPLOYMENT)/producer-report.json
	fraud-audit --producer-report $(DEPLOYMENT)/producer-report.json --consumer-report $(DEPLOYMENT)/consumer-report.json --output $(DEPLOYMENT)/demo-report.json
	printf '\nThe system keeps running. Where to look:\n\n'
	cat $(DEPLOYMENT)/where-to-look.txt

down: ## remove the hosts, their network, keys and secrets, and all else that make demo made here
	@if [ -e $(DEPLOYMENT)/terraform.tfstate ] || [ -e $(LAB)/terraform.tfstate ]; then
	  $(call step,Remove the hosts,$(TERRAFORM) -chdir=$(LAB) init -input=false -force-copy && $(TERRAFORM) -chdir=$(LAB) destroy -auto-approve -input=false,incus list shows what is left. If the daemon is not started: (cd ansible && ansible-playbook playbooks/control_node.yml) starts it; then make down again.)
	fi
	# remove the files of make plan, with or without hosts
	if [ -e $(DEPLOYMENT) ] || [ -e $(LAB)/terraform.tfstate ]; then
	  $(call step,Remove their image and stop the daemons,(cd ansible && ansible-playbook playbooks/control_node_remove.yml),incus list shows what is left)
	fi
	rm -rf $(DEPLOYMENT) $(LAB)/terraform.tfstate* $(LAB)/.terraform $(LAB)/.terraform.lock.hcl
	printf 'Kept for the next time: .venv, what else is in build/, the cache in %s, and Debian packages that were installed.\n' $(call quote,$(FRAUD_CACHE))

evaluate: .venv/installed ## how good the model is on consecutive weeks, as build/evaluation.html and .json; DATA=file COLUMNS=map
	@fraud-evaluate $(data_options)

lifecycle: .venv/installed ## what a model is worth in eight weeks after its promotion, as build/lifecycle.html and .json; no lab; DATA=file COLUMNS=map
	@python tests/benchmarks/lifecycle.py $(data_options)

# Tools and tests

.venv/installed: requirements/uv.txt requirements/dev.txt pyproject.toml
	@printf '\n\033[1m==> %s\033[0m\n' 'Install the tools of the control node into .venv'
	if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
	  apt-get update && apt-get install -y --no-install-recommends python3-venv
	fi
	/usr/bin/python3 -m venv .venv
	.venv/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	.venv/bin/uv pip sync --python .venv/bin/python --require-hashes requirements/dev.txt
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@

# a new version of Flink, or another way to build it, is unpacked anew
build/flink/installed: ansible/playbooks/jobs_tests.yml ansible/inventory/group_vars/all/versions.yml $(wildcard ansible/roles/artifacts/files/flink/*) | .venv/installed
	@$(call step,Unpack Flink for the tests of its jobs,(cd ansible && ansible-playbook playbooks/jobs_tests.yml),The task that failed stands above.)
	touch $@

bench: .venv/installed ## how fast the running lab is, as build/bench.html and .json; stops its jobs meanwhile; DATA=file COLUMNS=map CUSTOMERS=number
	@python tests/benchmarks/bench.py $(data_options) $(if $(CUSTOMERS),--customers $(call quote,$(CUSTOMERS)))

compare: .venv/installed ## what a record costs with the jobs of BEFORE=commit and with these, in turns on the running lab; AFTER=commit DATA=file COLUMNS=map
	@if [ -z $(call quote,$(BEFORE)) ]; then
	  echo 'make compare: BEFORE=commit says whose jobs to compare these with' >&2
	  exit 2
	fi
	python tests/benchmarks/compare.py $(call quote,$(BEFORE)) $(if $(AFTER),--after $(call quote,$(AFTER))) $(data_options)

# RATE is told only where it is given: its default is that of make stream
faults: .venv/installed ## break the running lab in every way, and check what becomes of records, as build/faults.html and .json; goes on where it was cut off; SEED=number ONLY=fault COUNT=number RATE=200
	@python tests/faults/faults.py $(if $(SEED),--seed $(call quote,$(SEED))) $(if $(ONLY),--only $(call quote,$(ONLY))) $(if $(COUNT),--count $(call quote,$(COUNT))) $(if $(filter file,$(origin RATE)),,--rate $(call quote,$(RATE)))

soak: .venv/installed ## let the running lab work and restart a job each minute, and see that nothing grows, as build/soak.html and .json; MINUTES=60 RATE=200
	@python tests/faults/soak.py $(if $(MINUTES),--minutes $(call quote,$(MINUTES))) $(if $(filter file,$(origin RATE)),,--rate $(call quote,$(RATE)))

flood: .venv/installed ## send the running lab ten times what it can score for two minutes, with its TaskManagers slowed, and check that all is kept, as build/flood.html and .json; FACTOR=10 ALLOWANCE=15
	@python tests/faults/flood.py $(if $(FACTOR),--factor $(call quote,$(FACTOR))) $(if $(ALLOWANCE),--allowance $(call quote,$(ALLOWANCE)))

check: .venv/installed build/flink/installed ## lint, types, unit tests and the jobs on a mini cluster, for the daily loop
	@ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	(cd ansible && ansible-lint --offline site.yml playbooks/control_node.yml playbooks/control_node_libvirt.yml playbooks/jobs_tests.yml playbooks/tflint.yml)
	shellcheck $$(git ls-files '*.sh')
	if command -v tflint >/dev/null; then tflint --chdir=terraform --recursive; else echo 'tflint is not here; make test PART=machines builds it'; fi
	pytest --numprocesses=2 --dist=worksteal tests/unit tests/parity
	pytest tests/jobs

# The parts of make test, and how many minutes each may take on a quiet machine of two cores. The last prints the times
# taken (tests/system/conftest.py). To end within them, it draws scenarios and tests of the lab (tests/shared/draw.py); a PART
# has all of its own. Booting a machine, the bare control node and an upgrade take long: each has a PART, and a short form,
# with stand-ins, among the unit tests.
BUDGETS := check=15 roles=18 lab=27

test: ## all checks and unit tests, and a draw of scenarios and of the lab's tests; PART=check, roles, lab, slow, machines, or a scenario, such as PART=kafka, whole
	@case $(call quote,$(PART)) in
	  '')
	    mkdir -p build
	    export TEST_TIMES=$(call quote,$(CURDIR)/build/test-times)
	    : >"$$TEST_TIMES"
	    # another lab on this machine is told now, and not when the lab's turn comes
	    $(MAKE) --no-print-directory plan
	    for part in $(BUDGETS); do
	      echo "$${part/=/ } $$(date +%s)" >>"$$TEST_TIMES"
	      $(MAKE) --no-print-directory "test-$${part%=*}" DRAW=1
	    done ;;
	  check | roles | lab | slow | machines) $(MAKE) --no-print-directory $(call quote,test-$(PART)) ;;
	  *) $(MAKE) --no-print-directory test-roles SCENARIO=$(call quote,$(PART)) ;;
	esac

test-check: check

test-roles: .venv/installed
	@if [ -n $(call quote,$(SCENARIO)) ] && [ ! -e $(call quote,molecule/$(SCENARIO)/molecule.yml) ]; then
	  printf 'make test: there is no part %s; there are check, roles, lab, slow, machines, and the folders of molecule/\n' $(call quote,$(SCENARIO)) >&2
	  exit 2
	fi
	$(call step,Prepare this machine,(cd ansible && ansible-playbook playbooks/control_node.yml playbooks/artifacts.yml),The task that failed stands above.)
	printf '\n\033[1m==> %s\033[0m\n' 'Apply each role to hosts of its own'
	$(if $(SCENARIO),,pytest -v tests/roles --ignore=tests/roles/test_scenarios.py)
	$(if $(SCENARIO),,export SCENARIOS_IN_SHORT=1)
	# two at a time, as a scenario often waits; cluster shows what the lab does, control_node builds all there is, upgrade takes long
	pytest -v --numprocesses=2 --dist=worksteal --durations=0 --durations-min=1 $(if $(SCENARIO),$(call quote,tests/roles/test_scenarios.py::test_role[$(SCENARIO)]),$(if $(DRAW),--draw 2) tests/roles/test_scenarios.py $(foreach own,cluster control_node upgrade,--deselect 'tests/roles/test_scenarios.py::test_role[$(own)]'))

test-lab: up
	@pytest -v tests/terraform
	pytest -v --durations=0 --durations-min=1 -m 'not slow' $(if $(DRAW),--draw 6) tests/system

# each of these tests runs most of site.yml more than once; together they take longer than all others
test-slow: up
	@pytest -v --durations=0 --durations-min=1 -m slow tests/system --ignore tests/system/test_disaster.py
	# last, as it takes all hosts
	pytest -v --capture=no --durations=0 --durations-min=1 -m slow tests/system/test_disaster.py

test-machines: .venv/installed
	@$(call step,Prepare this machine,(cd ansible && ansible-playbook playbooks/control_node_libvirt.yml playbooks/tflint.yml),The task that failed stands above.)
	printf '\n\033[1m==> %s\033[0m\n' 'Lint Terraform, make a virtual machine, set it up, remove it; ask for a cloud'
	pytest -v --capture=no --durations=0 --durations-min=1 tests/machines

lock: .venv/installed ## pin the newest versions that pyproject.toml allows, with their checksums
	@export UV_CUSTOM_COMPILE_COMMAND='make lock'
	compile='uv pip compile --quiet --upgrade --python-version 3.11 --generate-hashes'
	# Flink's jars come from the artifacts role; the project itself is built from the checkout
	leave_out='--no-emit-package apache-flink-libraries --no-emit-package fraud-detection'
	$$compile pyproject.toml --extra dev $$leave_out --output-file requirements/dev.txt
	$$compile pyproject.toml --extra flink $$leave_out --constraints requirements/dev.txt --output-file requirements/flink.txt
	$$compile pyproject.toml --extra training --extra clients $$leave_out --constraints requirements/dev.txt --output-file requirements/training.txt
	echo uv | $$compile - --constraints requirements/dev.txt --output-file requirements/uv.txt
