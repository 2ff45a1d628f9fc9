# The course in a container, without a GPU and without anything else installed:
#
#     docker build -t rlhf-course .
#     docker run --name rlhf-course -p 127.0.0.1:8888:8888 rlhf-course
#
# prints the address with its token; `docker start -a rlhf-course` goes on where you stopped.
FROM python:3.12-slim

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 learner \
    && install --directory --owner=learner /course

USER 1000
WORKDIR /course
COPY --chown=1000 . .
RUN make setup CPU=1

EXPOSE 8888
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD [".venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8888/api', timeout=4)"]
# Whom the port is open to, `docker run -p` says.
CMD ["make", "lab", "IP=0.0.0.0", "PORT=8888", "BROWSER=0"]
