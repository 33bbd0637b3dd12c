# What CI runs, and what is handy on a laptop. `just --list` shows it all.

# Formatting, lints, documentation: everything that needs no server.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --features martlet-perf/instructions --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# All tests, over real sockets; installs what they need from Debian.
test *ARGS:
    tests/run {{ARGS}}

# Each bench once, so that none rots.
bench-smoke:
    cargo bench --workspace --locked -- --test

# The benches.
bench *ARGS:
    cargo bench --workspace --locked -- {{ARGS}}

# Instructions of an answer against their budget; `--update` writes it, `--show KIND` details.
instructions *ARGS:
    perf/instructions {{ARGS}}

# Heap allocations of an answer.
allocations:
    perf/allocations

# Where the time goes, as an SVG.
flamegraph *ARGS:
    perf/flamegraph {{ARGS}}

# martlet beside other servers; `--write` puts the tables into perf/README.md.
versus *ARGS:
    perf/versus {{ARGS}}

# From a change of the cluster to its answer.
churn *ARGS:
    perf/churn {{ARGS}}

# What reading the metrics costs those who ask.
scrape *ARGS:
    perf/scrape {{ARGS}}

# Licences, sources and banned crates of all dependencies.
deny:
    cargo deny check bans licenses sources

# The demo cluster on 127.0.0.1:1053.
run:
    cargo run --release --locked --bin martlet -- -conf deploy/demo/Corefile

# A fuzz target (packet, upstream_reply, corefile) for some seconds; needs `cargo install cargo-fuzz` and a nightly compiler.
fuzz TARGET SECONDS="60":
    cd tests/fuzz && cargo fuzz run {{TARGET}} -- -max_total_time={{SECONDS}}
