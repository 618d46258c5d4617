# The trainer: every offline stage, run once and left. Build from the repository root:
#   docker build -f deploy/trainer.Dockerfile --build-arg TORCH_INDEX=… -t localrec-trainer:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Address of PyTorch's index of CPU wheels (pytorch.org, "Get Started", CPU). Empty: the default index, whose Linux
# wheels bring CUDA libraries; they work, at several gigabytes more.
# Leave it empty to train on a GPU.
ARG TORCH_INDEX=
# `ray-cluster` for the nodes of a Ray cluster (deploy/k8s/ray): --build-arg EXTRA=ray-cluster
ARG EXTRA=train
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PYTHON=/opt/localrec/bin/python
RUN python -m venv --without-pip /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN PIP_EXTRA_INDEX_URL=${TORCH_INDEX} pip install ".[${EXTRA}]"
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
LABEL org.opencontainers.image.title="localrec-trainer" \
    org.opencontainers.image.description="LocalRec's offline half: from tables to a bundle" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The same user in every image: see gateway.Dockerfile. KubeRay starts nodes from a login shell, which forgets PATH.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /bundles /runs \
    && echo "PATH=/opt/localrec/bin:\$PATH" > /etc/profile.d/localrec.sh
COPY --from=build /opt/localrec /opt/localrec
# Base models that are fetched from a hub, or out of a package, stay with the runs; what else libraries keep is for this container alone.
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/runs/huggingface XDG_CACHE_HOME=/runs/cache MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /runs
# A command that ends has no health; its exit code says whether it did its work.
HEALTHCHECK NONE
ENTRYPOINT ["localrec"]
CMD ["--help"]
