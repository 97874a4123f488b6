FROM node:22-bookworm-slim AS web
WORKDIR /web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --omit=dev --ignore-scripts
COPY web ./
RUN npm run build -- --outDir dist --emptyOutDir


FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies alone, so that a change of our own sources does not build them again. Every target that Cargo.toml
# names must exist for it to be read, so each has a stand-in.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && echo 'fn main() {}' | tee src/main.rs benches/micro.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin gemini-balance \
    && rm -r src

COPY config config
COPY migrations migrations
COPY src src
COPY build.rs ./
COPY --from=web /web/dist web-dist
ENV GEMINI_BALANCE_WEB_DIST=/build/web-dist CI=true
# Cargo goes by the times of files, and those of copied ones are older than the build above.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin gemini-balance


# The binary brings its certificates, its time zones and SQLite: nothing else has to be installed.
FROM debian:bookworm-slim
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app gemini \
    && mkdir data \
    && chown gemini:gemini data \
    && chmod 700 data
COPY --from=build /build/target/release/gemini-balance /usr/local/bin/

ENV HOST=0.0.0.0
USER gemini
VOLUME /app/data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 CMD ["gemini-balance", "healthcheck"]
ENTRYPOINT ["gemini-balance"]
CMD ["serve"]
