# The image of a Bento, by deploy/image.sh: not root, without a compiler, and everything but /state and /tmp may be read-only.
ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON} AS base
# LightGBM's wheel needs the system's OpenMP runtime.
RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM base AS libraries
# A mirror of the package index, if there is one; no part of the image.
ARG PIP_INDEX_URL
RUN apt-get update -q && apt-get install -q -y --no-install-recommends binutils
COPY env/python/requirements.txt /
RUN python -m venv --without-pip /opt/service \
    && python -m pip --python /opt/service/bin/python install --quiet --no-cache-dir --no-compile \
        --only-binary=:all: --require-hashes -r /requirements.txt
# Out goes what no service comes to: the libraries' tests, sources and headers to compile against them, Arrow's RPC, which
# nothing else is linked with, and symbols for debuggers; those of *.libs stay, for `strip` breaks them. All must still load.
RUN cd /opt/service/lib/python3.11/site-packages \
    && find . -type d \( -name test -o -name tests \) -prune -exec rm -r {} + \
    && find . -type f -regex '.*\.\(h\|hpp\|pxd\|pxi\|pyi\|pyx\)' -delete \
    && rm -r pyarrow/*flight* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
    && find . -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && find . -name '*.so*' | /opt/service/bin/python -c 'import ctypes, sys; [ctypes.CDLL(line.strip()) for line in sys.stdin]'

FROM base
RUN useradd --uid 10001 --home-dir /state --create-home bentoml
COPY --from=libraries /opt/service /opt/service
ENV PATH=/opt/service/bin:$PATH \
    BENTOML_DO_NOT_TRACK=True \
    BENTOML_HOME=/state \
    PYTHONUNBUFFERED=1
COPY . /bento
USER 10001
VOLUME /state
EXPOSE 3000
HEALTHCHECK --interval=15s --start-period=60s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/readyz', timeout=5)"]
ENTRYPOINT ["bentoml", "serve", "/bento", "--host", "0.0.0.0", "--port", "3000"]
