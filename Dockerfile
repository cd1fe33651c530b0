# Starling as a container image: docker build -t starling .   See docs/compose.md.
#
# Pinned by tag and not by digest: the tag fixes Node's and Debian's release and is built again with Debian's security fixes, which a
# digest would keep out. Whoever needs the same bytes twice adds @sha256:... here, from "docker buildx imagetools inspect".
FROM node:24.20.0-bookworm-slim AS base

# What the package manager fetches and the native engine, in layers that a change of Starling's own code leaves alone.
FROM base AS build
# g++ compiles the binding of the engine, pip fetches TensorFlow's library, strip takes the names of its symbols out (a quarter of it).
RUN apt-get update \
  && apt-get install --yes --no-install-recommends g++ python3-pip \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/starling
# The engine is linked where it is staged, so this is its place in the final image, too.
ENV STARLING_CACHE=/opt/tensorflow
# 0 leaves the native engine out: an image of two fifths of the size, whose peers compute with WebAssembly.
ARG STARLING_NATIVE=1
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY scripts/files.js scripts/build.js ./scripts/
COPY scripts/setup ./scripts/setup
RUN mkdir -p "$STARLING_CACHE" \
  && node scripts/setup/setup.js --no-build \
  && find "$STARLING_CACHE" -name 'lib*.so.2' -exec strip --strip-unneeded {} + \
  && rm -rf "$STARLING_CACHE"/*/include
COPY . .
# What only a build or a reader needs stays behind: compilers, tests, source maps.
RUN node scripts/build.js \
  && npm uninstall --no-save --omit=dev --ignore-scripts --no-audit --no-fund typescript assemblyscript node-api-headers \
  && rm -rf dist/tests \
  && find dist -name '*.test.*' -delete \
  && find dist node_modules \( -name '*.map' -o -name '*.d.ts' -o -name '*.tsbuildinfo' \) -delete

# The image that limits the bandwidth of peers, for the profile "slow" of docker-compose.yml.
FROM base AS slow
RUN apt-get update \
  && apt-get install --yes --no-install-recommends iproute2 \
  && rm -rf /var/lib/apt/lists/*
COPY docker/engine.js docker/slow.js /opt/starling/docker/
ENTRYPOINT ["node", "/opt/starling/docker/slow.js"]

# One node; the last stage is what "docker build" makes.
FROM base AS starling
LABEL org.opencontainers.image.title="Starling" \
  org.opencontainers.image.description="A daemon with which many machines train one model together and nobody leads" \
  org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
COPY --from=build /opt/tensorflow /opt/tensorflow
COPY --from=build /opt/starling/package.json /opt/starling/LICENSE /opt/starling/
COPY --from=build /opt/starling/bin /opt/starling/bin
COPY --from=build /opt/starling/node_modules /opt/starling/node_modules
COPY --from=build /opt/starling/dist /opt/starling/dist
COPY --from=build /opt/starling/networks /opt/starling/networks
COPY --from=build /opt/starling/docker /opt/starling/docker
RUN ln -s /opt/starling/bin/starling.js /usr/local/bin/starling \
  && mkdir /data /run/starling \
  && chown node:node /data /run/starling
# Identities, records and checkpoints lie below /data; a volume there outlives the container.
WORKDIR /data
USER node
EXPOSE 7400 7401
# SIGTERM ends a node with a checkpoint, in five seconds on a machine that is not overloaded.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["node", "/opt/starling/docker/health.js"]
ENTRYPOINT ["starling"]
CMD ["--help"]
