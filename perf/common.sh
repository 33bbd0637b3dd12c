# What the scripts of this folder share; they source it.
# shellcheck shell=bash
set -euo pipefail
export CARGO_TERM_COLOR=never LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
perf_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$perf_dir")
target=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
# BINARIES=DIR: programs built elsewhere, instead of a release build.
release=$(realpath -m "${BINARIES:-$target/release}")

say() { printf '%s\n' "$*" >&2; }

die() {
    say "${0##*/}: $*"
    exit 1
}

# need PROGRAM=PACKAGE…: installs from Debian what is missing, when we are root. Services that come
# along with a package are not started.
need() {
    local missing=() pair
    for pair; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "not installed, and not root on Debian: ${missing[*]}"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What links programs.
need_linker() { need cc=gcc cc=libc6-dev; }

# stop PID…: ends what was started, at once. For EXIT traps: does not fail.
stop() {
    local pid
    for pid; do
        { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
    done
}

# build CARGO-ARGUMENTS…: a release build.
build() {
    [[ -z ${BINARIES:-} ]] || return 0
    need_linker
    (cd "$root" && cargo build --quiet --release --locked "$@")
}

# The machine in one line, for tables.
machine() {
    local model
    model=$(sed -n '/^model name/{s/^[^:]*: //p;q}' /proc/cpuinfo)
    printf '%s, %s cores, Linux %s' "${model:-$(uname -m)}" "$(nproc)" "$(uname -r)"
}

# write_between NAME < TEXT: replaces what stands in README.md between its two NAME marks.
write_between() {
    local readme=$perf_dir/README.md text
    grep -q "^<!-- $1 -->$" "$readme" && grep -q "^<!-- /$1 -->$" "$readme" ||
        die "perf/README.md has no marks for $1"
    text=$(mktemp)
    cat >"$text"
    awk -v name="$1" -v text="$text" '
        $0 == "<!-- /" name " -->" { inside = 0 }
        !inside { print }
        $0 == "<!-- " name " -->" {
            inside = 1
            while ((getline line < text) > 0) print line
        }' "$readme" >"$readme.new"
    mv "$readme.new" "$readme"
    rm -f "$text"
}

# write_corefile PORT SOURCE [UPSTREAM [CACHE]]: what kubeadm writes, for 127.0.0.1 and with one upstream.
# SOURCE is where the objects come from: `manifests FOLDER` or `kubeconfig FILE`; CACHE is the line of
# `cache`, if it is another one. The ports for HTTP follow from PORT, so that several servers run at once.
# `lameduck` delays the end by 5 seconds when it is asked for with TERM, so `stop` does not.
write_corefile() {
    cat <<COREFILE
.:$1 {
    bind 127.0.0.1
    errors
    health 127.0.0.1:$(($1 + 1000)) {
        lameduck 5s
    }
    ready 127.0.0.1:$(($1 + 2000))
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        $2
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:$(($1 + 3000))
    forward . ${3:-127.0.0.1:9} {
        max_concurrent 1000
    }
    ${4:-cache 30}
    loop
    reload
    loadbalance
}
COREFILE
}

# wait_for_answers PORT LOG: until the server there has its cluster.
wait_for_answers() {
    local tries
    printf 'kubernetes.default.svc.cluster.local A\n' >"$work/probe"
    for ((tries = 0; tries < 120; tries++)); do
        "$release/martlet-load" ask --address "127.0.0.1:$1" --queries "$work/probe" --duration 0.05 \
            --window 1 --sockets 1 --warm-up 0 --expect noerror,nxdomain 2>/dev/null |
            grep ' [1-9][0-9]* answered' >/dev/null && return 0
        sleep 0.5
    done
    cat "$2" >&2
    die "the server on port $1 does not answer"
}
