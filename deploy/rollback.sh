#!/usr/bin/env bash
# Goes back to the DNS server that martlet has replaced: scales it up again, waits until it is ready,
# and only then takes martlet away. The Service stays as it is.
set -euo pipefail

namespace=kube-system

usage() {
    cat <<'TEXT'
usage: rollback.sh [-k FILE] [-w TIME] [DEPLOYMENT=REPLICAS]...

  -k FILE  kubeconfig
  -w TIME  how long to wait for the old server (default: 5m)

Without arguments it goes back to what deploy.sh has noted in the annotation `martlet/replaces`.
TEXT
}

fail() {
    printf 'rollback.sh: %s\n' "$*" >&2
    exit 1
}

kubectl=(kubectl)
wait=5m
while getopts 'k:w:h' option; do
    case $option in
        k) kubectl+=(--kubeconfig "$OPTARG") ;;
        w) wait=$OPTARG ;;
        h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
kubectl+=(--namespace "$namespace")

old=("$@")
if ((${#old[@]} == 0)); then
    command -v jq >/dev/null || fail 'jq is needed'
    martlet=$("${kubectl[@]}" get deployment martlet --output json) || fail 'there is no Deployment martlet'
    replaced=$(jq --raw-output '.metadata.annotations["martlet/replaces"] // empty' <<<"$martlet")
    IFS=, read -r -a old <<<"$replaced"
fi
((${#old[@]} > 0)) || fail 'nothing is noted to go back to; name it: rollback.sh coredns=2'
for deployment in "${old[@]}"; do
    [[ $deployment =~ ^[a-z0-9.-]+=[1-9][0-9]*$ ]] ||
        fail "not DEPLOYMENT=REPLICAS with replicas of 1 at least: $deployment"
done

for deployment in "${old[@]}"; do
    "${kubectl[@]}" scale deployment "${deployment%=*}" --replicas="${deployment#*=}"
done
for deployment in "${old[@]}"; do
    "${kubectl[@]}" rollout status deployment "${deployment%=*}" --timeout="$wait" ||
        fail "${deployment%=*} is not ready; martlet still serves"
done
"${kubectl[@]}" delete --ignore-not-found deployment/martlet poddisruptionbudget/martlet \
    networkpolicy/martlet horizontalpodautoscaler/martlet configmap/martlet serviceaccount/martlet
"${kubectl[@]}" delete --ignore-not-found clusterrolebinding/system:martlet clusterrole/system:martlet
