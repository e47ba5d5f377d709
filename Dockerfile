# The server of one model or several:
#
#   docker build -t genre-zoo .
#   docker run --rm --read-only --tmpfs /tmp:size=6g -p 127.0.0.1:8000:8000 -v "$PWD/runs/best:/model:ro" genre-zoo /model
#
# On a machine without a GPU an index that has torch for CPUs makes the image several GB smaller:
# --build-arg PIP_EXTRA_INDEX_URL=ADDRESS. What belongs before the server: docs/serving.md.
FROM python:3.11-slim

ARG PIP_EXTRA_INDEX_URL
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY zoo zoo
COPY leaderboard leaderboard
COPY benchmarks benchmarks
COPY configs configs
RUN pip install --no-cache-dir -c constraints.txt ".[serve,onnx,recommend]"

# what it writes goes to /tmp, and goes with it
ENV GENRE_ZOO_CACHE=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
RUN useradd --system zoo
USER zoo
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "zoo.serve", "--host", "0.0.0.0"]
