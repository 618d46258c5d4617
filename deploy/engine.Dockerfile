# The engine: our own worker, torch on a CPU. Build from the repository root:
#   docker build -f deploy/engine.Dockerfile --build-arg TORCH_INDEX=… -t localrec-engine .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Address of PyTorch's index of CPU wheels (pytorch.org, "Get Started", CPU). Empty: the default index, whose Linux
# wheels bring CUDA libraries; they work, at several gigabytes more.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN PIP_EXTRA_INDEX_URL=${TORCH_INDEX} /opt/localrec/bin/pip install ".[engine]"
COPY localrec localrec
COPY models models
COPY service service
RUN /opt/localrec/bin/pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
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
