# The steps of .ci/run by name; what each does stands there.

# Lists the recipes.
default:
    @just --list

# Everything that has to pass before a change lands.
ci:
    .ci/run

# The tests that need no peer.
test:
    .ci/run test

# What the package for crates.io and the Debian package hold.
package:
    .ci/run package

# Formatting and clippy.
lint:
    .ci/run lint

# The documentation of the library builds without a warning.
doc:
    .ci/run doc

# The library's features, each built alone.
features:
    .ci/run features

# Licences, banned crates, sources, and Cargo.lock as Cargo.toml asks for.
deny:
    .ci/run lock deny

# Dependencies that nothing uses.
unused:
    .ci/run unused

# The benches compile.
bench:
    .ci/run bench

# Each fuzz target for a minute, or for so many seconds.
fuzz SECONDS="60":
    FUZZ_SECONDS={{SECONDS}} .ci/run fuzz

# The mixin's files, promtool's checks and tests, Grafana's schema.
mixin:
    .ci/run mixin

# Brings the real peers and runs the suite against them.
peers:
    .ci/run peers

# docker-compose.yml in a Docker engine: the whole system, each container killed, each fault.
compose:
    .ci/run compose

# The figures: start, memory, requests beside a bare server, points through the collector (see benches/README.md).
figures *WHICH:
    cargo bench --bench figures -- {{WHICH}}

# The collector beside the stock one: points, spans and log records a second, memory, cost by series (see docs/PERFORMANCE.md).
bench-collect:
    cargo bench --bench figures -- collect
    cargo bench --bench figures -- series
    cargo bench --bench figures -- spans

# What the HTTP layer adds to a request, beside the published ones (see docs/PERFORMANCE.md): all of it, or one part.
bench-http *PART:
    cargo build --release --quiet --manifest-path benches/http/Cargo.toml
    cargo run --release --quiet --manifest-path benches/http/Cargo.toml -- {{PART}}

# The collector killed at 200 random moments under load, on the same spool; for lines, and for totals.
faults:
    KILLS=200 cargo test --test graphite_delivery kill -- --nocapture

# The collector for half an hour, or for so many seconds, at half of what it can do, with a fault every minute.
soak SECONDS="1800":
    SOAK={{SECONDS}} cargo test --release --test graphite_delivery soak -- --nocapture
