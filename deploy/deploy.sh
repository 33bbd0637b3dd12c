#!/usr/bin/env bash
# Prints manifests that put martlet behind the `kube-dns` Service, for `kubectl apply -f -`.
# What serves now goes on beside it until it is scaled down; what to do next is told on stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
namespace=kube-system

usage() {
    cat <<'TEXT'
usage: deploy.sh [-r CIDR]... [-i IP] [-d DOMAIN] [-t FILE] [-k FILE] [-s]
       deploy.sh [SERVICE-CIDR [DOMAIN]]

  -r CIDR    reverse zone, may be repeated (default: in-addr.arpa ip6.arpa)
  -i IP      address of the DNS Service (default: that of the Service `kube-dns`)
  -d DOMAIN  cluster domain (default: cluster.local)
  -t FILE    template (default: the manifests of kustomize/base); CLUSTER_DNS_IP in it becomes the
             address, a line that is COREFILE alone the Corefile, POD_RESOURCE `pods, ` or nothing
  -k FILE    kubeconfig
  -s         take nothing over from the ConfigMaps `coredns` and `kube-dns`

Environment: MARTLET, the program that checks the Corefile (default: martlet); MARTLET_IMAGE, the
image (default: martlet:0.1.0).
TEXT
}

fail() {
    printf 'deploy.sh: %s\n' "$*" >&2
    exit 1
}
say() { printf 'deploy.sh: %s\n' "$*" >&2; }

reverse=()
ip='' domain='' template='' skip=''
kubectl=(kubectl)
while getopts 'r:i:d:t:k:sh' option; do
    case $option in
        r) reverse+=("$OPTARG") ;;
        i) ip=$OPTARG ;;
        d) domain=$OPTARG ;;
        t) template=$OPTARG ;;
        k) kubectl+=(--kubeconfig "$OPTARG") ;;
        s) skip=yes ;;
        h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if (($# > 2)); then
    usage >&2
    exit 2
fi
# The first form that this script had: deploy.sh 10.3.0.0/24 cluster.local
if (($# > 0)); then reverse+=("$1"); fi
if (($# > 1)); then domain=$2; fi
given_domain=$domain
domain=${domain:-cluster.local}
given_reverse=${#reverse[@]}
if ((given_reverse == 0)); then reverse=(in-addr.arpa ip6.arpa); fi

# These go into YAML and into a Corefile, so they hold nothing that means something there.
for zone in "$domain" "${reverse[@]}"; do
    [[ $zone =~ ^[A-Za-z0-9._:/-]+$ ]] || fail "not a domain or a CIDR: $zone"
done
command -v jq >/dev/null || fail 'jq is needed'

# An object as JSON; nothing where there is none.
object() {
    "${kubectl[@]}" --namespace "$namespace" get "$@" --ignore-not-found --output json
}

if [[ -z $ip ]]; then
    service=$(object service kube-dns) || fail 'cannot read the Service kube-dns; name its address with -i'
    ip=$(jq --raw-output '.spec.clusterIP // empty' <<<"${service:-null}")
    [[ -n $ip && $ip != None ]] || fail 'there is no Service kube-dns; name its address with -i'
fi
[[ $ip =~ ^[0-9a-fA-F.:]+$ ]] || fail "not an address: $ip"

# Its own block for each stub domain, as kube-dns's dnsmasq had a server for each.
stub_blocks() {
    jq --raw-output '
        (.data.stubDomains // "{}" | fromjson | to_entries[]) |
        "\(.key):53 {\n    errors\n    cache 30\n    loop\n    forward . \(.value | join(" "))\n}"
    ' <<<"$1"
}

upstreams() {
    jq --raw-output '.data.upstreamNameservers // "[]" | fromjson | join(" ")' <<<"$1"
}

default_corefile() { # UPSTREAMS BLOCKS
    cat <<TEXT
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes $domain ${reverse[*]} {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . $1 {
        max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
TEXT
    if [[ -n $2 ]]; then printf '%s\n' "$2"; fi
}

corefile='' replaced='' is_taken_over=''
if [[ -z $skip ]]; then
    map=$(object configmap coredns) || fail 'cannot read the ConfigMap coredns; -s goes without'
    corefile=$(jq --raw-output '.data.Corefile // empty' <<<"${map:-null}")
    if [[ -n $corefile ]]; then
        is_taken_over=yes
        extra=$(jq --raw-output '.data | del(.Corefile) | keys | join(", ")' <<<"$map")
        [[ -z $extra ]] || fail "the ConfigMap coredns has files beside the Corefile ($extra): \
mount them into martlet's pods with a template (-t), then use -s or a Corefile without them"
        if [[ -n $given_domain ]] || ((given_reverse > 0)); then
            say 'the Corefile of the ConfigMap coredns is kept as it is: -d and -r mean nothing (but with -s)'
        fi
    else
        map=$(object configmap kube-dns) || fail 'cannot read the ConfigMap kube-dns; -s goes without'
        map=${map:-null}
        blocks=$(stub_blocks "$map") || fail 'stubDomains in the ConfigMap kube-dns are not {"DOMAIN": ["ADDRESS"]}'
        to=$(upstreams "$map") || fail 'upstreamNameservers in the ConfigMap kube-dns are not ["ADDRESS"]'
        if [[ $(jq '.data.federations != null' <<<"$map") == true ]]; then
            say 'federations of the ConfigMap kube-dns are left out: Kubernetes has none any more'
        fi
        corefile=$(default_corefile "${to:-/etc/resolv.conf}" "$blocks")
    fi
fi
if [[ -z $corefile ]]; then corefile=$(default_corefile /etc/resolv.conf ''); fi

martlet=${MARTLET:-martlet}
if command -v "$martlet" >/dev/null; then
    file=$(mktemp)
    trap 'rm -f "$file"' EXIT
    printf '%s\n' "$corefile" >"$file"
    "$martlet" check "$file" >&2 || fail "the Corefile does not pass '$martlet check'; nothing is printed"
elif [[ -n $is_taken_over ]]; then
    fail "cannot check the Corefile of the ConfigMap coredns without $martlet: put it into PATH or name it in MARTLET"
else
    say "the Corefile is not checked: there is no $martlet in PATH"
fi

# Which Deployments stand behind the Service now, with their replicas; rollback.sh reads it.
if [[ -z $skip ]]; then
    deployments=$(object deployment --selector k8s-app=kube-dns) || fail 'cannot list Deployments; -s goes without'
    replaced=$(jq --raw-output '
        [.items[]? | select(.metadata.name != "martlet") | "\(.metadata.name)=\(.spec.replicas)"] | join(",")
    ' <<<"${deployments:-null}")
    # A second run finds the old ones scaled down already, and keeps what the first has noted.
    noted=$(jq --raw-output '
        [.items[]? | select(.metadata.name == "martlet") | .metadata.annotations["martlet/replaces"] // empty] | first // empty
    ' <<<"${deployments:-null}")
    replaced=${noted:-$replaced}
fi

# The manifests of the base as a template.
base_template() {
    local name line
    for name in rbac configmap deployment service disruption network; do
        echo ---
        while IFS= read -r line; do
            case $name/$line in
                configmap/'  Corefile: |')
                    printf '%s\nCOREFILE\n' "$line"
                    break
                    ;;
                service/'  clusterIP: '*) line='  clusterIP: CLUSTER_DNS_IP' ;;
                rbac/*'resources: [services, '*) line=${line/\[/[POD_RESOURCE} ;;
            esac
            printf '%s\n' "$line"
        done <"$here/kustomize/base/$name.yaml"
    done
}

fill() {
    local line kind='' text
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ ^[[:space:]]*COREFILE[[:space:]]*$ ]]; then
            while IFS= read -r text; do
                if [[ -n $text ]]; then text="    $text"; fi
                printf '%s\n' "$text"
            done <<<"$corefile"
            continue
        fi
        if [[ $line == '- apiGroups: [discovery.k8s.io]' && -n $imports ]]; then
            printf '%s\n' '- apiGroups: [multicluster.x-k8s.io]' '  resources: [serviceimports]' \
                '  verbs: [list, watch]'
        fi
        line=${line//CLUSTER_DNS_IP/$ip}
        line=${line//POD_RESOURCE/$pods}
        case $line in
            'kind: '*) kind=${line#kind: } ;;
            *'image: martlet') line=${line/%martlet/$image} ;;
        esac
        printf '%s\n' "$line"
        if [[ $line == metadata: && $kind == Deployment && -n $replaced ]]; then
            printf '  annotations: {martlet/replaces: "%s"}\n' "$replaced"
        fi
    done
}

pods=''
if grep -Eq '^[[:space:]]*pods[[:space:]]+verified' <<<"$corefile"; then pods='pods, '; fi
imports=''
if grep -Eq '^[[:space:]]*multicluster[[:space:]]+[^[:space:]]' <<<"$corefile"; then imports=1; fi
image=${MARTLET_IMAGE:-martlet:0.1.0}
if [[ -n $template ]]; then
    [[ -r $template ]] || fail "cannot read $template"
    fill <"$template"
else
    base_template | fill
fi

say "next: kubectl -n $namespace rollout status deployment martlet"
for deployment in ${replaced//,/ }; do
    say "then: kubectl -n $namespace scale deployment ${deployment%=*} --replicas=0"
done
