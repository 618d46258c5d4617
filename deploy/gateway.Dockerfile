# The gateway: the base install, without torch. Build from the repository root:
#   docker build -f deploy/gateway.Dockerfile -t localrec-gateway .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN /opt/localrec/bin/pip install .
COPY localrec localrec
COPY models models
COPY service service
RUN /opt/localrec/bin/pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
# /bundles belongs to the same user in every image, because a new volume takes its owner from the image that mounts it
# first, and files of safetensors are readable by their owner alone.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /bundles
COPY --from=build /opt/localrec /opt/localrec
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["localrec"]
CMD ["serve", "gateway", "--config", "/etc/localrec/gateway.toml", "--host", "0.0.0.0", "--port", "8080"]
