# The engine: our own worker, torch on a CPU. Build from the repository root:
#   docker build -f deploy/engine.Dockerfile --build-arg TORCH_INDEX=… -t localrec-engine:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Address of PyTorch's index of CPU wheels (pytorch.org, "Get Started", CPU). Empty: the default index, whose Linux
# wheels bring CUDA libraries; they work, at several gigabytes more.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PYTHON=/opt/localrec/bin/python
RUN python -m venv --without-pip /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN PIP_EXTRA_INDEX_URL=${TORCH_INDEX} pip install ".[engine,otel]"
COPY localrec localrec
COPY models models
COPY service service
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && pip install --no-deps --force-reinstall /wheels/*.whl
# What is in the image, for those who look for what must be mended: names and versions, and all that packages say.
RUN install --directory /opt/localrec/share/sbom \
    && pip list --format=freeze > /opt/localrec/share/sbom/requirements.txt \
    && pip inspect > /opt/localrec/share/sbom/packages.json

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="localrec-engine" \
    org.opencontainers.image.description="LocalRec's worker: local models with hot-swapped adapters, in vLLM's HTTP contract" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The same user in every image: see gateway.Dockerfile.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /bundles
COPY --from=build /opt/localrec /opt/localrec
# Everything that the engine loads is in the bundle.
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 10001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/health', timeout=2)"]
ENTRYPOINT ["localrec"]
# To serve: `serve engine --bundle /bundles/<bundle id> --host 0.0.0.0 --port 8001`, as docker-compose.yml does.
CMD ["serve", "engine", "--help"]
