# A node, and smeg-api for who starts it. It needs the capability NET_ADMIN and, where the kernel has no WireGuard, the
# device /dev/net/tun; see docs/image.md. BASE is any Debian 12 with python3 (3.11 or later) and its venv module.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
COPY . .
RUN python3 -m venv /opt/smegmesh && /opt/smegmesh/bin/pip install --no-cache-dir --disable-pip-version-check '.[api]'

FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    iproute2 iputils-ping wireguard-go wireguard-tools \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/smegmesh /opt/smegmesh
COPY docs/examples/node.yaml /etc/smegmesh/node.yaml
ENV PATH=/opt/smegmesh/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Keys and state: who loses this folder is a new node. A new volume takes the folder's mode over.
RUN install --directory --mode=0700 /var/lib/smegmesh
VOLUME /var/lib/smegmesh
EXPOSE 51800/tcp 51820/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["smeg-cli", "status"]
ENTRYPOINT ["smeg-node"]
CMD ["--config", "/etc/smegmesh/node.yaml"]
