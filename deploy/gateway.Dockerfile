# The gateway: the base install, without torch, and what sends traces. Build from the repository root:
#   docker build -f deploy/gateway.Dockerfile -t localrec-gateway:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PYTHON=/opt/localrec/bin/python
RUN python -m venv --without-pip /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN pip install ".[otel]"
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
LABEL org.opencontainers.image.title="localrec-gateway" \
    org.opencontainers.image.description="LocalRec's HTTP service: recommendations fused from local language models" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# /bundles belongs to the same user in every image, because a new volume takes its owner from the image that mounts it
# first, and files of safetensors are readable by their owner alone.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /bundles
COPY --from=build /opt/localrec /opt/localrec
# The manual is the default: what differs is said by LOCALREC_… variables, or by a file of one's own in its place.
COPY deploy/gateway.toml /etc/localrec/gateway.toml
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080 8081
# One process a container: a service grows by containers, which a scheduler sees, limits and replaces.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["localrec"]
CMD ["serve", "gateway", "--config", "/etc/localrec/gateway.toml", "--host", "0.0.0.0", "--port", "8080"]
