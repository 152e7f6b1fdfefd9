# The pipelines' runner image: what `run.py` needs, not root, read-only but for its state and /tmp.
#   docker build -t millrace-runner .     (`make runner-image` labels it, too)
#   docker run --read-only --tmpfs /tmp -v millrace-state:/millrace/.millrace millrace-runner --pipeline training
ARG PYTHON=python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

FROM ${PYTHON} AS build
WORKDIR /millrace
# Another package index than the usual one; no part of the image.
ARG PIP_INDEX_URL
COPY requirements/bootstrap.txt requirements/run.txt requirements/
# With the system's certificates, as pip. uv's cache may be lent to the build, and is no part of the image; uv itself
# is, for BentoML asks for it. Out go the largest libraries' own tests.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --quiet --require-hashes -r requirements/bootstrap.txt \
    && python -m venv --without-pip .venv \
    && /opt/build/bin/uv pip install --quiet --python .venv/bin/python --native-tls --link-mode copy \
        ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} --compile-bytecode --require-hashes \
        -r requirements/bootstrap.txt -r requirements/run.txt \
    && find .venv/lib/python3.11/site-packages -type d -regex \
        '.*/\(matplotlib\|numba\|numpy\|pandas\|pyarrow\|scipy\|sklearn\|statsmodels\)/\(.*/\)?tests' \
        -prune -exec rm -r {} +
COPY . code
# What the image is made of, and its own code compiled: it could not keep that where nothing is written.
RUN cat requirements/*.txt >locks.txt \
    && .venv/bin/cyclonedx-py requirements locks.txt --pyproject code/pyproject.toml --output-reproducible \
        -o sbom.cdx.json \
    && .venv/bin/python -m compileall -q --invalidation-mode unchecked-hash code

FROM ${PYTHON}
# LightGBM's wheel needs the system's OpenMP runtime. Debian keeps no version of it but the newest.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /millrace/.millrace --no-create-home millrace \
    && install -d /millrace \
    && install -d -o millrace -g millrace /millrace/.millrace
WORKDIR /millrace
COPY --from=build /millrace/.venv .venv
COPY --from=build /millrace/sbom.cdx.json /sbom.cdx.json
COPY --from=build /millrace/code .
# The commit it is built from: models that are trained in it name that.
ARG REVISION
ENV MILLRACE_REVISION=$REVISION \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title=millrace-runner \
      org.opencontainers.image.licenses=Apache-2.0
USER 10001:10001
VOLUME /millrace/.millrace
# A job: it ends by itself, and its exit code says how it went.
HEALTHCHECK NONE
ENTRYPOINT [".venv/bin/python", "run.py"]
CMD ["--help"]
