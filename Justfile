# The one door. Every recipe is one line that works without `just` as well.

# What there is.
_default:
    @just --list --unsorted

# Run a registry on this machine: http://127.0.0.1:5000, data in data/dev.
dev *ARGS:
    cargo run --release --bin atolld -- dev {{ARGS}}

alias up := dev

# Unit, property and seam tests, house rules, documentation.
test:
    cargo test --workspace --locked

# Format and lints; reads only.
check:
    cargo fmt --all --check && cargo clippy --locked --workspace --all-targets -- -D warnings

# Lints of what only the simulator compiles; reads only.
sim-check:
    cargo sim-clippy

# Format and what lints can repair; writes.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged && cargo fmt --all

# Licences, bans, sources and advisories of the dependencies.
deny:
    .ci/deny policy && .ci/deny advisories

# The simulations that every change must pass.
sim:
    cargo sim ci

# Repeat one simulated run.
sim-repro SCENARIO SEED:
    setarch -R cargo sim run {{SCENARIO}} {{SEED}}

# COUNT seeds of one scenario.
sim-campaign SCENARIO COUNT *ARGS:
    cargo sim campaign {{SCENARIO}} {{COUNT}} {{ARGS}}

# COUNT seeds of all scenarios that draw everything, and their figures.
sim-swarm COUNT *ARGS:
    cargo sim swarm {{COUNT}} {{ARGS}}

# A run that fails, made smaller while it still fails.
sim-shrink SCENARIO SEED *ARGS:
    cargo sim shrink {{SCENARIO}} {{SEED}} {{ARGS}}

# Power cuts at every disk operation of every story; `cargo sim ci` takes a sample of them.
sim-crash-full:
    cargo sim crash all

# Planted bugs, or those that are named: each must be caught.
sim-bite *PLANTS:
    cargo sim bite {{PLANTS}}

# COUNT seeds, each twice: the traces must be identical.
sim-meta COUNT="5":
    cargo sim meta {{COUNT}}

# The OCI distribution conformance suite: no failure, no skip.
conformance:
    deploy/conformance/run.sh

# docker, podman, skopeo, crane, oras, helm, regctl, cosign, ctr: push, pull, compare.
e2e *CLIENTS:
    deploy/e2e/run.sh {{CLIENTS}}

# The command line against three nodes, and beside docker, containerd, podman, skopeo and crane.
cli *PROOFS:
    deploy/cli/run.sh {{PROOFS}}

# What a registry must refuse, and how.
bad-inputs *ARGS:
    python3 deploy/bad-inputs/run.py {{ARGS}}

# kill -9 under load; what was acknowledged must be there.
durability *ARGS:
    python3 deploy/durability/kill9.py {{ARGS}}

# The paper's Figure 12: one of five nodes dies under load and comes back; CSV and PNG.
figure12 *ARGS:
    deploy/cluster/figure12.py {{ARGS}}

# 3 nodes grow to 6 and shrink to 3 under load; bytes moved against the least possible.
elastic *ARGS:
    deploy/cluster/elastic.py {{ARGS}}

# kill -9 of any one node while images are pushed, 500 times.
kill-push *ARGS:
    deploy/cluster/kill_push.py {{ARGS}}

# A million pulls through the library while nodes are killed at random, one at a time.
mass-pull *ARGS:
    cargo build --release -p atoll-client --example mass_pull && deploy/cluster/mass_pull.py {{ARGS}}

# Wrong tokens, foreign nodes, plaintext, full disks.
refusals *ARGS:
    deploy/cluster/refusals.py {{ARGS}}

# Conformance through a proxy that sends each request to the next node; `--kill` loses one midway.
round-robin *ARGS:
    deploy/cluster/conformance.py {{ARGS}}

# Push to one node, pull from all others at once, with real clients.
anywhere *CLIENTS:
    deploy/cluster/anywhere.sh {{CLIENTS}}

# The short proofs of a cluster.
cluster-test: (figure12 "--kill 14 --back 22 --seconds 32 --images 60") (elastic "--to 4 --images 60") (kill-push "--rounds 8") refusals round-robin (round-robin "--kill") anywhere

# Side by side with distribution and nginx.
bench *ARGS:
    deploy/bench/run.sh {{ARGS}}

# All of it, as before a change is taken.
ci:
    .ci/run
