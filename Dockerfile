# Parley in a container: `docker build -t parley .` for NVIDIA GPUs, `--build-arg VARIANT=cpu` for the demo model on a CPU.
# The build compiles nothing and needs no GPU. docker/README.md has the requirements at run time and their reasons.
ARG BASE=docker.io/library/debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG VARIANT=cuda

FROM ${BASE} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates=20* libopus0=1.3.* python3=3.11.* tini=0.19.* \
    && rm -rf /var/lib/apt/lists/* /var/log/*

# ── Python packages, in one stage for each layer: torch, which seldom changes, and the others.

FROM base AS pip
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip=23.0.* \
    && rm -rf /var/lib/apt/lists/*
# The locks are complete and have hashes, so pip resolves nothing. opuslib has no wheel; Debian's setuptools builds it.
ENV PIP_INSTALL="pip install --no-deps --no-build-isolation --no-cache-dir --root-user-action=ignore"

FROM pip AS torch
ARG VARIANT
# The package index of the CPU variant's torch. Empty: pip's default index.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY docker/requirements/torch-cuda.txt /requirements/
RUN if [ "$VARIANT" = cpu ]; then \
        $PIP_INSTALL --target /opt/torch ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
            "$(grep -o '^torch==[0-9.]*' /requirements/torch-cuda.txt)"; \
    else \
        $PIP_INSTALL --target /opt/torch --require-hashes -r /requirements/torch-cuda.txt; \
    fi

FROM pip AS python
COPY docker/requirements/python.txt /requirements/
RUN $PIP_INSTALL --target /opt/python --require-hashes -r /requirements/python.txt

FROM base AS application
COPY model /opt/parley/model
COPY server /opt/parley/server
COPY web /opt/parley/web
COPY docker/healthcheck.py LICENSE /opt/parley/
RUN python3 -m compileall -q /opt/parley

# ── The image: a base for each variant with its defaults, and the layers on top.

FROM base AS cpu
ENV PARLEY_MODEL=demo

FROM base AS cuda
# Triton compiles the launcher of its kernels when it first runs them.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc=4:12.* libc6-dev=2.36-* libpython3-dev=3.11.* \
    && rm -rf /var/lib/apt/lists/* /var/log/*
ENV PARLEY_MODEL=kyutai/moshiko-pytorch-bf16 \
    PARLEY_QUANTIZATION=int8 \
    PARLEY_KV_CACHE_DTYPE=int8 \
    PARLEY_DEVICE=cuda \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${VARIANT}
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin parley \
    && install -d -o parley -g parley /data
COPY --from=torch /opt/torch /opt/torch
COPY --from=python /opt/python /opt/python
COPY --from=application /opt/parley /opt/parley
# hadolint ignore=DL3064 # HF_TOKEN_PATH is a path, not a token
ENV PYTHONPATH=/opt/parley:/opt/python:/opt/torch \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    HF_HOME=/data/huggingface \
    HF_TOKEN_PATH=/run/secrets/hf_token \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PARLEY_HOST=0.0.0.0 \
    PARLEY_REFUSE_WHEN_FULL=true
USER 10001:10001
WORKDIR /data
# Weights, compiled kernels, certificates: worth keeping, but all can be made again.
VOLUME /data
EXPOSE 8998
STOPSIGNAL SIGTERM
# The first start downloads the model.
HEALTHCHECK --interval=15s --timeout=5s --start-period=1h CMD ["python3", "/opt/parley/healthcheck.py"]
# tini, because process 1 ignores every signal for which it has no handler.
ENTRYPOINT ["tini", "--", "python3", "-m", "server"]
CMD ["serve"]
