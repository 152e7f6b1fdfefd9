"""The commands of the pages that no test of this folder runs, and why; they are checked as far as that goes."""

# A pattern of a command's text, without its comment; `*` is anything. A test that is named runs the command, or
# what it stands for, with other settings. What matches none of these is run.
ELSEWHERE = {
    "make test": "runs this very test",
    "make rehearsal": "five minutes; tests/deploy/test_rehearsal.py plays it",
    "make staging*": "tests/deploy/test_staging.py starts these servers, asks and stops them",
    "* --stack staging*": "needs that staging: tests/stacks/test_staging.py",
    "* --to staging*": "needs that staging: tests/stacks/test_transfer.py",
    "* --to production*": "needs a cluster; the same with another name: tests/stacks/test_transfer.py",
    "make serve STACK=*": "needs that staging: tests/stacks/test_transfer.py",
    'eval "$(make staging-env)"': "needs that staging: tests/deploy/test_staging.py",
    "*blocks.csv*": "of that staging, too: tests/stacks/test_transfer.py",
    "curl 127.0.0.1*": "asks that staging's champion: tests/stacks/test_transfer.py",
    ".venv/bin/python -c *": "asks servers of that staging: tests/deploy/test_staging.py",
    "make image*": "builds by a container engine: tests/bentos/test_image.py",
    "* --problem california_housing --data housing.csv *": "needs that table: tests/pipelines/test_training.py",
    "* --set seed=7 *": "one training more: tests/pipelines/test_training.py",
    "* --data my.csv --target price": "docs/tutorial.md drafts a table that is there",
    "* --problem my": "docs/tutorial.md trains the draft",
    "docker *": "no Docker engine is here; tests/deploy/test_compose.py reads the files as docker-compose does",
    "cp deploy/compose/.env.example *": "of the Docker staging: tests/deploy/test_compose.py",
    "kubectl *": "needs a cluster; tests/scheduler/test_kubernetes.py checks what is applied",
    "*s3://*": "needs a bucket: tests/pipelines/test_inference.py, tests/millrace/test_batch_stores.py",
    "* --scheduler tcp://dask:8786": "needs that cluster: tests/millrace/test_cluster.py starts one",
    "* --engine dask": "starts a cluster: tests/millrace/test_cluster.py",
    "git init && dvc init": "makes a repository: `make data-version` does; tests/millrace/test_sources_versions.py",
    "dvc *": "needs a remote: tests/millrace/test_sources_versions.py",
    "* --data 'dvc://*": "needs that repository: tests/millrace/test_sources_versions.py",
    "* --pipeline experiment *": "needs days of traffic: tests/pipelines/test_experiment.py",
    "* --set tuning.trials=*": "a search of minutes: tests/pipelines/test_tuning.py",
}
