# What a person types. `make` alone prints this list.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUN := $(BIN)/python
PROBLEM ?= housing_sample
PORT ?= 3000
FROM ?= staging
TO ?= production
TARGET ?= process
BUILDER ?= docker
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, every process compiles every module of the project anew: a second of each command.
unexport PYTHONDONTWRITEBYTECODE
# Where zenml, mlflow and bentoml find this project's state, and no telemetry: `make env` prints it.
STATE = eval "$$($(RUN) -m stacks.environment)"
# Of a command's options those that a variable is set for; in quotes, whatever characters they have.
GIVEN = $${STACK:+--stack "$$STACK"} $${SUMMARY:+--summary "$$SUMMARY"}

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/; s/\$$\$$/$$/' | expand -t 19
	@echo
	@echo "PROBLEM=$(PROBLEM) picks another problem, PORT=$(PORT) another port of what serves."

.PHONY: train
train: .venv/.run ## train, judge and pack a model of PROBLEM (set up first, if need be)
	@$(RUN) run.py --pipeline training --problem $(PROBLEM) $${DATA:+--data "$$DATA"} $(GIVEN)

.PHONY: test
test: .venv/.dev .venv/.tools .venv/.torch ## run all tests
	@$(RUN) -m pytest

.PHONY: empty-machine
empty-machine: ## train and test in a Debian made for it, with Python, make and the registries (docs/empty_machine.md)
	@bash tests/empty_machine.sh

.PHONY: torch
torch: .venv/.torch ## install PyTorch, for the candidate `network`

.PHONY: serve
serve: .venv/.run ## serve the latest Bento of PROBLEM on 127.0.0.1:PORT; with STACK=NAME, that stack's champion
	@$(STATE) $(if $(STACK),&& $(RUN) -m steps.serve $(STACK) $(PROBLEM)) && $(RUN) -m millrace.ports http://127.0.0.1:$(PORT) \
		&& exec $(BIN)/bentoml serve $(PROBLEM):latest --host 127.0.0.1 --port $(PORT)

.PHONY: deploy
deploy: .venv/.run ## deploy PROBLEM's champion, or VERSION, to TARGET (process): docs/deployment.md; STACK, IMAGE
	@$(if $(filter process,$(TARGET)),bash deploy/system-packages.sh haproxy)
	@$(RUN) run.py --pipeline deployment --problem $(PROBLEM) --target $(TARGET) \
		$${VERSION:+--version "$$VERSION"} $${IMAGE:+--image "$$IMAGE"} $(GIVEN)

.PHONY: roll-back
roll-back: .venv/.run ## deploy again what TARGET had before
	@$(RUN) run.py --pipeline deployment --problem $(PROBLEM) --target $(TARGET) --roll-back $(GIVEN)

.PHONY: deploy-stop
deploy-stop: .venv/.run ## end what was deployed to TARGET, if that is this machine
	@$(RUN) run.py --pipeline deployment --problem $(PROBLEM) --target $(TARGET) --stop $(GIVEN)

.PHONY: image
image: .venv/.run ## build the container image of PROBLEM's latest Bento; BUILDER=podman or buildah instead of docker
	@$(STATE) && BUILDER=$(BUILDER) bash deploy/image.sh $(PROBLEM):latest

.PHONY: runner-image
runner-image: ## build the container image of the pipelines, millrace-runner
	@BUILDER=$(BUILDER) bash deploy/runner_image.sh

.PHONY: sbom
sbom: .venv/.run ## write the bills of materials (CycloneDX) of runner and service into .millrace/sbom/
	@bash deploy/sbom.sh .millrace/sbom/runner.cdx.json requirements/bootstrap.txt requirements/run.txt
	@bash deploy/sbom.sh .millrace/sbom/service.cdx.json requirements/serve.txt

.PHONY: secrets
secrets: .venv/.tools ## look for keys, tokens and passwords in all files of the repository
	@bash deploy/secrets.sh

.PHONY: audit
audit: .venv/.tools ## ask PyPI whether flaws are known of anything that requirements/ locks
	@bash deploy/audit.sh

.PHONY: licences
licences: .venv/.run .venv/.tools ## write docs/licences.md: what the runtime's libraries are licensed under
	@$(RUN) -m deploy.licences

.PHONY: lambda-image
lambda-image: image ## the same image as AWS Lambda takes it, as PROBLEM-lambda (docs/terraform.md)
	@$(BUILDER) build --file deploy/lambda.Dockerfile --build-arg SERVICE=$(PROBLEM) --tag $(PROBLEM)-lambda deploy

.PHONY: terraform-test
terraform-test: .venv/.run ## is deploy/terraform formatted and valid, and does it pass its tests? needs terraform
	@$(RUN) -m deploy.cloud.check

.PHONY: cloud-environment
cloud-environment: .venv/.run ## what Terraform made in ENVIRONMENT, as the variables of stack and targets
	@$(RUN) -m deploy.cloud.variables $(ENVIRONMENT)

.PHONY: monitor
monitor: .venv/.run ## judge what PROBLEM's champion has answered: drift, decay
	@$(RUN) run.py --pipeline monitoring --problem $(PROBLEM) \
		$${SINCE:+--since "$$SINCE"} $${LOG:+--set "log=$$LOG"} $(GIVEN)

.PHONY: promote
promote: .venv/.run ## make FROM's champion of PROBLEM, or its VERSION, champion of TO: from staging to production
	@$(RUN) run.py --pipeline promotion --problem $(PROBLEM) --from $(FROM) --to $(TO) \
		$${VERSION:+--version "$$VERSION"} $${SUMMARY:+--summary "$$SUMMARY"}

.PHONY: undo-promotion
undo-promotion: .venv/.run ## take back the promotion that SUMMARY tells of, if it has changed the champion
	@$(RUN) -m pipelines.undo "$$SUMMARY"

.PHONY: registry-login
registry-login: ## log in to REGISTRY, of the kind REGISTRY_KIND: docker-hub, ghcr, ecr, artifact-registry
	@bash deploy/workflows/registry_login.sh

.PHONY: publish
publish: .venv/.run ## build the image of STACK's champion of PROBLEM, as TARGET runs it, push it to REGISTRY, write its digest to IMAGE_FILE
	@$(RUN) -m steps.publish "$$STACK" $(PROBLEM) $(TARGET) "$$REGISTRY" "$$IMAGE_FILE"

.PHONY: rehearsal
rehearsal: .venv/.run ## drift, alarm, retraining, another model in service: the loop played through (five minutes)
	@bash deploy/system-packages.sh prometheus
	@$(RUN) -m deploy.rehearsal

.PHONY: scheduler
scheduler: PORT = 3002
scheduler: .venv/.run ## run what configs/schedules.yaml and alerts ask for, on 127.0.0.1:3002 (docs/scheduler.md)
	@exec $(RUN) -m scheduler start --port $(PORT)

.PHONY: dashboard
dashboard: PORT = 8237
dashboard: .venv/.run ## ZenML's dashboard: runs, lineage, checks, plots, cards
	@$(STATE) && exec $(RUN) -m stacks.dashboard $(PORT)

.PHONY: mlflow
mlflow: PORT = 5000
mlflow: .venv/.run ## MLflow's pages: experiments, candidates, registered versions
	@$(STATE) && exec $(BIN)/mlflow server --host 127.0.0.1 --port $(PORT) --workers 1 \
		--backend-store-uri sqlite:///$$MILLRACE_HOME/store/mlflow.db

.PHONY: staging
staging: .venv/.run ## the servers of the stack `staging` on 127.0.0.1, with what they kept (docs/staging.md)
	@bash deploy/system-packages.sh postgresql mariadb ceph prometheus
	@$(RUN) -m deploy.staging start

.PHONY: staging-stop
staging-stop: .venv/.run ## stop them; their data stays
	@$(RUN) -m deploy.staging stop

.PHONY: staging-status
staging-status: .venv/.run ## what each of them does
	@$(RUN) -m deploy.staging status

.PHONY: staging-env
staging-env: .venv/.run ## print their addresses and keys as variables: eval "$$(make staging-env)"
	@$(RUN) -m deploy.staging env

.PHONY: docs
docs: .venv/.tools ## the pages of docs/ as a site, in .millrace/site
	@NO_MKDOCS_2_WARNING=1 .venv/tools/bin/mkdocs build --quiet --strict
	@echo "To read it, with its search: $(RUN) -m http.server --bind 127.0.0.1 --directory .millrace/site 8000"

.PHONY: dashboards
dashboards: .venv/.dev ## write Grafana's dashboards, which are code in deploy/grafana/, as JSON
	@$(RUN) -m deploy.grafana

.PHONY: data-version
data-version: .venv/.run ## train on two DVC versions of a table; show which each run's lineage names
	@$(RUN) -m examples.data_version

.PHONY: stacks
stacks: .venv/.run ## the stacks of configs/stacks/: their components, and whether each is ready
	@$(RUN) -m stacks.overview

.PHONY: env
env: .venv/.run ## print the variables for using zenml, mlflow and bentoml by hand: eval "$$(make env)"
	@$(RUN) -m stacks.environment

.PHONY: lint
lint: .venv/.dev .venv/.tools ## linters, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --config pyproject.toml
	@bash deploy/lint.sh

.PHONY: format
format: .venv/.dev ## put the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: faults
faults: .venv/.dev ## kill each server of a staging under trainings; print what came of it (half an hour)
	@$(RUN) -m tests.faults.outages

.PHONY: bench-stacks
bench-stacks: .venv/.dev ## training on local and on a staging of its own by turns; what S3 is asked (ten minutes)
	@$(RUN) benchmarks/stacks.py

.PHONY: bench
bench: .venv/.dev ## run the benchmarks behind docs/speed.md
	@$(RUN) benchmarks/pipeline_overhead.py
	@$(RUN) benchmarks/quality.py

.PHONY: bench-serving
bench-serving: .venv/.dev ## the service beside Starlette, FastAPI, BentoML's tutorial and MLflow, by wrk (twelve minutes)
	@bash deploy/system-packages.sh wrk
	@$(RUN) benchmarks/serving.py

.PHONY: bench-rows
bench-rows: .venv/.dev ## what a row costs from the bytes of a request to its answer, part by part
	@$(RUN) benchmarks/single_row.py

.PHONY: bench-scale
bench-scale: .venv/.dev ## whole tables scored and trained on, 1 M and 10 M rows: rows/s and peak memory (an hour)
	@$(RUN) benchmarks/scoring.py
	@$(RUN) benchmarks/training_scale.py

.PHONY: bench-detection
bench-detection: .venv/.dev ## how often drift is found, and found where there is none, beside Evidently (half an hour)
	@$(RUN) benchmarks/detection.py

.PHONY: bench-monitoring
bench-monitoring: .venv/.dev ## a million logged rows judged: seconds and memory, beside Evidently (ten minutes)
	@$(RUN) benchmarks/monitoring.py

.PHONY: bench-experiments
bench-experiments: .venv/.dev ## how often experiments end rightly when looked at each day, beside z-tests (a minute)
	@$(RUN) benchmarks/experiments.py

.PHONY: bench-coverage
bench-coverage: .venv/.dev ## how often intervals hold the truth, over five seeds
	@$(RUN) benchmarks/interval_coverage.py

.PHONY: bench-accuracy
bench-accuracy: .venv/.dev .venv/.torch ## RMSE on California Housing beside other libraries, five splits (half an hour)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(RUN) --group peers
	@$(RUN) benchmarks/accuracy.py

.PHONY: lock
lock: .venv/.uv ## resolve the dependency groups of pyproject.toml anew into requirements/
	@# For every 3.11: Debian's is older than the one that this may run on.
	@for group in bootstrap serve run dev tools; do \
		$(BIN)/uv pip compile --quiet --upgrade --group $$group --python-version 3.11.0 --generate-hashes \
			--no-emit-index-url --no-header --no-annotate -o requirements/$$group.txt || exit 1; \
	done

.PHONY: clean
clean: ## delete everything that runs have left: models, runs, caches, and staging with its data
	@for place in $$(ls -d .millrace/deployments/*/*/haproxy.cfg 2>/dev/null | cut -d/ -f3-4); do \
		echo "error: What was deployed to $$place may answer still; end it first:" \
			"make deploy-stop PROBLEM=$${place%/*} TARGET=$$(basename $${place%-*})" >&2; exit 2; done
	@test ! -d .millrace/staging || MILLRACE_HOME= $(RUN) -m deploy.staging stop
	rm -rf .millrace

.venv/.uv: requirements/bootstrap.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Millrace needs Python 3.11, and found $$($(PYTHON) --version 2>/dev/null || echo none)." \
			"Name it with: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "This Python has no venv. Install it first: sudo apt-get install python3.11-venv" >&2; exit 2; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@touch $@

.venv/.run: requirements/run.txt deploy/system-packages.sh .venv/.uv
	@bash deploy/system-packages.sh
	@echo "Installing what the pipelines need into .venv (2 GB, once)."
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(RUN) --require-hashes -r requirements/run.txt
	@touch $@

.venv/.dev: requirements/dev.txt deploy/system-packages.sh .venv/.run
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(RUN) --require-hashes -r requirements/dev.txt
	@bash deploy/system-packages.sh postgresql chromium mariadb ceph prometheus docker-compose \
		docker-registry haproxy mmdebstrap buildah podman runc git curl
	@touch $@

.venv/.tools: requirements/tools.txt .venv/.uv
	@$(BIN)/uv venv --quiet --allow-existing --python $(RUN) .venv/tools
	@$(BIN)/uv pip install --quiet --python .venv/tools/bin/python --require-hashes -r requirements/tools.txt
	@touch $@

# By pip and not by uv: pip takes the build that the machine's own configuration of it points to.
.venv/.torch: pyproject.toml .venv/.run
	@$(BIN)/pip install --quiet $$($(RUN) -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["torch"])')
	@touch $@
