# The service on plain workerd: docker build -t quicksilver . && docker run -e API_KEYS=… -p 8787:8787 quicksilver
# docs/deploy.md says more; deploy/compose.yaml runs it with an object store.

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY scripts/node-version.js scripts/
RUN npm ci
COPY assembly assembly
COPY examples examples
COPY playground playground
COPY src src
COPY scripts scripts
COPY wrangler.toml tsconfig.json ./
# For quicksilver_build_info: docker build --build-arg REVISION=$(git rev-parse --short=12 HEAD)
ARG REVISION=unknown
RUN REVISION=$REVISION npm run build:worker

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY scripts/node-version.js scripts/
RUN npm ci --omit=dev && npm cache clean --force
COPY src src
COPY scripts scripts
COPY --from=build /app/build/self-hosted build/self-hosted
COPY models models
# The user `node` of the image.
USER 1000
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8787/health').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# The node process is the one that gets SIGTERM; it drains for at most 35 seconds (docker stop --time 40).
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--", "scripts/serve.ts", "--host", "0.0.0.0"]
