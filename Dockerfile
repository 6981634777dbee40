# pushpull: service and collector in one program, in an image without a compiler or a shell's tools beyond Debian's smallest.
FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies alone first, for an empty program: they change rarely and take nearly all of the time. Tests and benches
# are not in here, so the manifest must not name them.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[\(test\|bench\)\]\]/,/^$/d' Cargo.toml \
    && mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin pushpull \
    && rm -r src

COPY src src
# Cargo goes by times, and a checkout's may be older than the empty program's.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin pushpull

FROM debian:bookworm-slim
# For OTLP over TLS to a public endpoint.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/pushpull /usr/local/bin/pushpull
RUN useradd --system --uid 10003 --no-create-home pushpull
USER 10003:10003
# Inside a container loopback is nobody else's; what can be reached is what is published.
ENV PUSHPULL_LISTEN=0.0.0.0:5000
EXPOSE 5000 4317 4318 8889
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=5 CMD ["pushpull", "health"]
ENTRYPOINT ["pushpull"]
CMD ["serve"]
