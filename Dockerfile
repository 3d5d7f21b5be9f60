# syntax=docker/dockerfile:1

# One image for all processes: `freshness receiver`, `worker`, `scheduler`, `migrate`. How to run it: docs/deploy.md.
# By its digest in your own registry, if you build releases: --build-arg PYTHON=3.12-slim-bookworm@sha256:… (requirements/README.md).
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/freshness
COPY requirements/build.txt requirements/run.txt requirements/
RUN /opt/freshness/bin/pip install --only-binary=:all: --require-hashes --no-deps -r requirements/build.txt -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY freshness freshness
COPY mlm_client mlm_client
COPY hydrators hydrators
COPY jobs jobs
COPY receiver receiver
COPY console console
COPY migrations migrations
RUN /opt/freshness/bin/pip install --no-deps --no-build-isolation . \
 && /opt/freshness/bin/pip uninstall --yes setuptools pip

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="mlm-freshness" \
      org.opencontainers.image.licenses="Apache-2.0"
# Numbers, so that Kubernetes can tell that it is not root. All but the spool, which is a volume, may be read-only.
RUN groupadd --gid 10001 freshness \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin freshness \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/spool/freshness
COPY --from=build /opt/freshness /opt/freshness
ENV PATH=/opt/freshness/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
USER 10001:10001
EXPOSE 8000
# Of the receiver. Workers and schedulers have no port: they touch the file that --alive names.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/healthz' % os.environ['PORT'], timeout=3)"]
ENTRYPOINT ["freshness"]
CMD ["receiver"]
