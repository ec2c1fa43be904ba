# One image for log nodes and engine nodes; the command says which. It holds no secret: those are made at the first start (docker-compose.yml).
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

RUN useradd --system --uid 7379 --user-group --no-create-home --shell /usr/sbin/nologin memstore \
    # A named volume takes over owner and mode of the folder it is mounted on.
    && install -d -o memstore -g memstore -m 0700 /data /secrets

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY memstore memstore
COPY txlog txlog
RUN pip install --no-cache-dir --no-compile . && python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

WORKDIR /
USER memstore
ENV PYTHONUNBUFFERED=1
CMD ["memstore", "--help"]
