# The pipelines' runner image: what `run.py` needs, not root, state in a volume.
#   docker build -t millrace-runner .
#   docker run -v millrace-state:/millrace/.millrace millrace-runner --pipeline training
ARG PYTHON=python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

FROM ${PYTHON} AS build
WORKDIR /millrace
COPY requirements/bootstrap.txt requirements/run.txt requirements/
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --quiet --require-hashes -r requirements/bootstrap.txt \
    && .venv/bin/uv pip install --python .venv/bin/python --no-cache --compile-bytecode \
        --require-hashes -r requirements/run.txt

FROM ${PYTHON}
# LightGBM's wheel needs the system's OpenMP runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home millrace \
    && install -d -o millrace -g millrace /millrace /millrace/.millrace
WORKDIR /millrace
COPY --from=build /millrace/.venv .venv
COPY LICENSE run.py ./
COPY requirements requirements
COPY configs configs
COPY millrace millrace
COPY steps steps
COPY stacks stacks
COPY scheduler scheduler
COPY commands commands
COPY pipelines pipelines
COPY bentos bentos
USER millrace
ENV PYTHONUNBUFFERED=1
VOLUME /millrace/.millrace
ENTRYPOINT [".venv/bin/python", "run.py"]
CMD ["--help"]
