# pushpull: one static program in an image that holds nothing else. `docker compose build` builds it once for all services.
FROM rust:1.95-trixie AS build
WORKDIR /src
COPY . .
# Compiled dependencies live in a cache of the builder, so that a change of the source compiles this package alone. Cargo
# goes by the times of files, and another checkout's can be older than what was compiled last: hence `touch`.
# `crt-static` with an explicit target links the C library into the program and leaves procedural macros as they are.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    find . -name '*.rs' -exec touch {} + \
    && target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=/target \
        cargo build --release --locked --bin pushpull --target "$target" \
    && mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/licenses \
    && cp "/target/$target/release/pushpull" /image/usr/local/bin/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp LICENSE /image/licenses/ \
    && mkdir -p -m 1777 /image/tmp \
    && install -d -o 10003 -g 10003 -m 0700 /image/var/lib/pushpull/console /image/var/lib/pushpull/spool

FROM scratch
COPY --from=build /image /
LABEL org.opencontainers.image.title="pushpull" \
      org.opencontainers.image.description="One service watched by pull and by push, and the bridge from OTLP to Graphite" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
USER 10003:10003
# In a container, what can be reached is what is published. SSL_CERT_FILE: for OTLP over TLS to a public endpoint.
ENV PATH=/usr/local/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PUSHPULL_LISTEN=0.0.0.0:5000
EXPOSE 5000 5001 4317 4318 8889
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=5 CMD ["pushpull", "health"]
ENTRYPOINT ["pushpull"]
CMD ["serve"]
