# One image for log nodes and engine nodes; the command says which. It holds no secret: those are
# made at the first start (docker-compose.yml).
ARG BASE_IMAGE=python:3.12-slim

# The compiler and the build's tools stay in this stage.
FROM ${BASE_IMAGE} AS build
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py hot_modules.txt README.md LICENSE ./
COPY building building
COPY memstore memstore
COPY txlog txlog
# An environment of its own, to be copied whole. `require`: an image without compiled modules is an
# error.
RUN python -m venv /opt/memstore \
    && MEMSTORE_COMPILE=require PIP_CONSTRAINT=/src/constraints.txt \
        /opt/memstore/bin/pip install --no-cache-dir --no-compile . \
    && /opt/memstore/bin/python -m compileall -q /opt/memstore/lib

FROM ${BASE_IMAGE}
RUN useradd --system --uid 7379 --user-group --no-create-home --shell /usr/sbin/nologin memstore \
    # A named volume takes over owner and mode of the folder it is mounted on.
    && install -d -o memstore -g memstore -m 0700 /data /secrets
COPY --from=build /opt/memstore /opt/memstore

WORKDIR /
USER memstore
ENV PATH=/opt/memstore/bin:$PATH PYTHONUNBUFFERED=1
CMD ["memstore", "--help"]
