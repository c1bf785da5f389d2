# A trained model as a command, on the CPU:
#   docker build -t ser .
#   docker run --rm -v "$PWD:/work" ser predict models/ravdess call.wav
FROM python:3.11-slim

# ffmpeg reads M4A, WebM, video and the like. Debian keeps no older versions of it to name.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/ser
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY ser ser
COPY conf conf
RUN pip install --no-cache-dir --no-deps -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install --no-cache-dir -c constraints.txt -e '.[predict]'

WORKDIR /work
ENTRYPOINT ["ser"]
CMD ["--help"]
