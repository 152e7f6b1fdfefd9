# The image of a Bento, built by deploy/image.sh: Python, the Bento and its libraries, and no shell, installer
# or compiler. It runs as nobody special, and all of it but /state and /tmp may be read-only.
ARG DEBIAN=debian:bookworm-slim@sha256:7b140f374b289a7c2befc338f42ebe6441b7ea838a042bbd5acbfca6ec875818
# Debian's Python 3.11 and what it is linked with; LightGBM's OpenMP runtime is among that.
ARG PYTHON=gcr.io/distroless/python3-debian12@sha256:7d1042ce588ab97019fe95c24ffca7bc5a82ccdac572511d5e09bda4435c89c5

FROM ${DEBIAN} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Another package index than the usual one; no part of the image.
ARG PIP_INDEX_URL
# Debian keeps no version of them but the newest.
# hadolint ignore=DL3008
RUN apt-get update -q && apt-get install -q -y --no-install-recommends binutils libgomp1 python3 python3-pip-whl
COPY bootstrap.txt bento/env/python/requirements.txt /
# By uv, in a fifth of the time; with the system's certificates, as pip. Its cache may be lent to the build, and
# nothing here is a part of the image but what is copied out.
RUN PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) python3 -m pip install --quiet --no-cache-dir \
        --no-compile --root-user-action ignore --target /opt/build --require-hashes -r /bootstrap.txt \
    && python3 -m venv --without-pip /opt/service \
    && /opt/build/bin/uv pip install --quiet --python /opt/service/bin/python --link-mode copy --native-tls \
        ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} --only-binary :all: --require-hashes -r /requirements.txt
# Out goes what no service comes to: the libraries' tests and sample data, sources and headers to compile
# against them, Arrow's RPC, which nothing else is linked with, and symbols for debuggers. Those of *.libs stay:
# `strip` breaks them. What is left must still load, all of it.
WORKDIR /opt/service/lib/python3.11/site-packages
RUN find . -type d \( -name test -o -name tests \) -prune -exec rm -r {} + \
    && find . -type f -regex '.*\.\(h\|hpp\|pxd\|pxi\|pyi\|pyx\)' -delete \
    && rm -r pyarrow/*flight* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
    && rm -r sklearn/datasets/data sklearn/datasets/images \
    && find . -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && find . -name '*.so*' | /opt/service/bin/python -c \
        'import ctypes, sys; [ctypes.CDLL(line.strip()) for line in sys.stdin]'

# Loads the Bento and its server once, so that what they import is compiled: every start would take three times
# as long.
COPY bento /bento
ENV BENTOML_DO_NOT_TRACK=True PYTHONPYCACHEPREFIX=/opt/compiled
RUN mkdir /state \
    && printf 'import %s\n' bentoml bentoml_cli.cli circus.arbiter circus.commands \
        opentelemetry.instrumentation.asgi uvicorn.loops.uvloop uvicorn.protocols.http.httptools_impl \
        _bentoml_impl.server.app _bentoml_impl.server.serving _bentoml_impl.worker.service >/tmp/load.py \
    && echo 'bentoml.load("/bento")' >>/tmp/load.py \
    && /opt/service/bin/python /tmp/load.py

FROM ${PYTHON}
COPY --from=build /opt/service /opt/service
COPY --from=build --chown=65532:65532 /state /state
COPY --from=build /opt/compiled /opt/compiled
COPY sbom.cdx.json /sbom.cdx.json
COPY bento /bento
# One thread a worker: asked for more, scikit-learn counts cores by a program that is not here, and complains.
ENV BENTOML_DO_NOT_TRACK=True \
    BENTOML_HOME=/state \
    OMP_NUM_THREADS=1 \
    PATH=/opt/service/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/compiled \
    PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
VOLUME /state
EXPOSE 3000
HEALTHCHECK --interval=15s --start-period=60s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/readyz', timeout=5)"]
ENTRYPOINT ["bentoml", "serve", "/bento", "--host", "0.0.0.0", "--port", "3000"]
