# The load generator: locust and our profiles. Build from the repository root:
#   docker build -f deploy/loadtest.Dockerfile -t localrec-loadtest:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PYTHON=/opt/localrec/bin/python
RUN python -m venv --without-pip /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN pip install ".[loadtest]"
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
LABEL org.opencontainers.image.title="localrec-loadtest" \
    org.opencontainers.image.description="LocalRec's load profiles for locust" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The same user in every image: see gateway.Dockerfile.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /reports
COPY --from=build /opt/localrec /opt/localrec
COPY loadtests /opt/loadtests/loadtests
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /opt/loadtests
EXPOSE 5557
# A run ends by itself; its exit code says whether the thresholds hold.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "loadtests"]
CMD ["--help"]
