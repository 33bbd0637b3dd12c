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
             address, a line that is COREFILE alone the Corefile, RULES alone the ClusterRole's rules
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

# The Service that pods ask. With -i and -s together nothing is asked of the cluster.
service=''
if [[ -z $ip || -z $skip ]]; then
    service=$(object service kube-dns) || fail 'cannot read the Service kube-dns; name its address with -i, and use -s'
fi
if [[ -n $service ]]; then
    there=$(jq --raw-output '.spec.clusterIP // empty' <<<"$service")
    [[ -z $ip || $ip == "$there" ]] ||
        fail "the Service kube-dns has the address $there, which cannot be changed to $ip"
    ip=$there
    # A selector or a port of another kind would send the questions past martlet's pods.
    unfit=$(jq --raw-output '
        [.spec.ports[]? | select(.port == 53) | .targetPort // 53] as $targets |
        if .spec.selector != {"k8s-app": "kube-dns"} then "selects pods by \(.spec.selector)"
        elif any($targets[]; . != 53) then "sends questions to the ports \($targets) of pods"
        else empty end
    ' <<<"$service")
    [[ -z $unfit || -n $template ]] ||
        fail "the Service kube-dns $unfit: martlet's pods need a template (-t) that fits it"
fi
[[ -n $ip && $ip != None ]] || fail 'there is no Service kube-dns; name its address with -i'
[[ $ip =~ ^[0-9a-fA-F.:]+$ ]] || fail "not an address: $ip"

# What is checked of values that go into a Corefile.
words='def is_zone: type == "string" and test("^[A-Za-z0-9._-]+$");
    def are_addresses: type == "array" and all(.[]; type == "string" and test("^[][A-Za-z0-9.:-]+$"));
    def read: if (. // "") | test("^\\s*$") then null else fromjson end;'

# Its own block for each stub domain, as kube-dns's dnsmasq had a server for each.
stub_blocks() {
    jq --raw-output "$words"'
        .data.stubDomains | read // {} | to_entries[] |
        if (.key | is_zone) and (.value | are_addresses) then . else error end |
        "\(.key):53 {\n    errors\n    cache 30\n    loop\n    forward . \(.value | join(" "))\n}"
    ' <<<"$1" 2>/dev/null
}

upstreams() {
    jq --raw-output "$words"'
        .data.upstreamNameservers | read // [] | if are_addresses then join(" ") else error end
    ' <<<"$1" 2>/dev/null
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

corefile='' origin='' map='' files='' custom=''
if [[ -z $skip ]]; then
    map=$(object configmap coredns) || fail 'cannot read the ConfigMap coredns; -s goes without'
    corefile=$(jq --raw-output '.data.Corefile // empty' <<<"${map:-null}")
    if [[ -n $corefile ]]; then
        origin=coredns
        # The files beside it: those of k3s change with its nodes, so they are mounted, not copied.
        files=$(jq --raw-output '.data | del(.Corefile) | keys | join(", ")' <<<"$map")
        # What AKS, k3s and others have `import custom/*` read.
        custom=$(object configmap coredns-custom) || fail 'cannot read the ConfigMap coredns-custom; -s goes without'
        if [[ -n $given_domain ]] || ((given_reverse > 0)); then
            say 'the Corefile of the ConfigMap coredns is kept as it is: -d and -r mean nothing (but with -s)'
        fi
    else
        map=$(object configmap kube-dns) || fail 'cannot read the ConfigMap kube-dns; -s goes without'
        map=${map:-null}
        blocks=$(stub_blocks "$map") || fail 'stubDomains in the ConfigMap kube-dns are not {"DOMAIN": ["ADDRESS"]}'
        to=$(upstreams "$map") || fail 'upstreamNameservers in the ConfigMap kube-dns are not ["ADDRESS"]'
        if [[ -n $blocks$to ]]; then origin=kube-dns; fi
        if [[ $(jq '.data.federations != null' <<<"$map") == true ]]; then
            say 'federations of the ConfigMap kube-dns are left out: Kubernetes has none any more'
        fi
        corefile=$(default_corefile "${to:-/etc/resolv.conf}" "$blocks")
    fi
fi
if [[ -z $corefile ]]; then corefile=$(default_corefile /etc/resolv.conf ''); fi

# Writes the values of a ConfigMap into a folder below `seen`, which is what they call /etc/coredns.
unpack() { # MAP FOLDER
    local key
    mkdir -p "$2"
    while IFS= read -r key; do
        jq --raw-output --arg key "$key" --arg seen "$seen/" \
            '.data[$key] | gsub("/etc/coredns/"; $seen)' <<<"$1" >"$2/$key"
    done < <(jq --raw-output '.data // {} | keys[]' <<<"$1")
}

# `check` says what is wrong, and what the Corefile needs of the manifests. It sees the files that the
# pods will see, in a folder that stands for theirs.
martlet=${MARTLET:-martlet} needs=''
if command -v "$martlet" >/dev/null; then
    seen=$(mktemp -d)
    trap 'rm -rf "$seen"' EXIT
    if [[ $origin == coredns ]]; then unpack "$map" "$seen"; fi
    if [[ -n $custom ]]; then unpack "$custom" "$seen/custom"; fi
    printf '%s\n' "${corefile//\/etc\/coredns\//$seen/}" >"$seen/Corefile"
    needs=$("$martlet" check --needs "$seen/Corefile") ||
        fail "the Corefile does not pass '$martlet check'; nothing is printed"
elif [[ -n $origin ]]; then
    fail "cannot check what the ConfigMap $origin says without $martlet: put it into PATH or name it in MARTLET"
else
    say "the Corefile is not checked: there is no $martlet in PATH"
fi
if [[ -n $needs && -z $template ]]; then
    unfit=$(jq --raw-output '
        if all(.ports[]; .port != 53) then "serves no port 53, where the Service sends questions"
        elif any(.health[]; . == 8080) | not then "has no `health` on port 8080, which the liveness probe asks"
        elif any(.ready[]; . == 8181) | not then "has no `ready` on port 8181, which the readiness probe asks"
        else empty end
    ' <<<"$needs")
    [[ -z $unfit ]] || fail "the Corefile $unfit: change it, or write a template (-t) that fits it"
fi

# Which Deployments stand behind the Service now, and what scales them by their name, with their
# replicas; rollback.sh reads it.
replaced='' api=''
if [[ -z $skip ]]; then
    deployments=$(object deployment) || fail 'cannot list Deployments; -s goes without'
    replaced=$(jq --raw-output '
        [.items[]? | select(.metadata.name != "martlet" and .spec.replicas != 0)] |
        map(select(.spec.template.metadata.labels["k8s-app"] == "kube-dns")) as $servers |
        map(select(.metadata.name | IN("dns-autoscaler", ($servers[].metadata.name + "-autoscaler")))) + $servers |
        map("\(.metadata.name)=\(.spec.replicas // 1)") | join(",")
    ' <<<"${deployments:-null}")
    # A second run finds the old ones scaled down already, and keeps what the first has noted.
    noted=$(jq --raw-output '
        [.items[]? | select(.metadata.name == "martlet") | .metadata.annotations["martlet/replaces"] // empty] | first // empty
    ' <<<"${deployments:-null}")
    replaced=${noted:-$replaced}
    mounts=$(jq --raw-output '
        [.items[]? | select(.metadata.name != "martlet") | .spec.template |
         select(.metadata.labels["k8s-app"] == "kube-dns") | .spec.volumes[]? |
         select(has("emptyDir") or (.configMap.name | IN("coredns", "coredns-custom")) | not) | .name] | join(", ")
    ' <<<"${deployments:-null}")
    if [[ $origin == coredns && -n $mounts ]]; then
        [[ -n $template ]] || fail "the pods of CoreDNS have volumes that martlet's would not have ($mounts): \
write a template (-t) with them"
    fi
    api=$(namespace=default object service kubernetes) || fail 'cannot read the Service kubernetes; -s goes without'
fi

# What an unchecked Corefile, which is the base's, needs more than the base has.
none='{"ports": [], "upstreams": [], "lameduck": 0}'

# The rules of the ClusterRole.
rules() {
    if [[ -n $needs ]]; then
        jq --raw-output '.rules[] | "- \(tojson)"' <<<"$needs"
    else
        sed -n '/^rules:/,/^---/{//!p;}' "$here/kustomize/base/rbac.yaml"
    fi
}

# Ports of the network policy that the base does not have, by the comment above a list of its.
more_ports() { # COMMENT
    case $1 in
        '  # Questions '*) jq --raw-output '.ports[] | select(.port != 53) | "    - \(tojson)"' <<<"${needs:-$none}" ;;
        '  # Upstreams'*) jq --raw-output '.upstreams[] | select(.port != 53) | "    - \(tojson)"' <<<"${needs:-$none}" ;;
        '  # The API server'*)
            # A policy is about the server's own port, behind the Service.
            jq --raw-output '.spec.ports[]?.targetPort | numbers | select(IN(443, 6443) | not) |
                "    - \({port: ., protocol: "TCP"} | tojson)"' <<<"${api:-null}"
            ;;
    esac
}
# The manifests of the base as a template; a Service that is there stays as it is.
base_template() {
    local name line comment=''
    for name in rbac configmap deployment service disruption network; do
        echo ---
        if [[ $name == service && -n $service ]]; then
            jq '{
                apiVersion, kind, metadata: (.metadata | {name, namespace, labels}),
                spec: (.spec | {clusterIP, selector, ports: [.ports[] | {name, port, protocol, targetPort}]})
            } | .spec.ports |= if any(.port == 9153) then . else
                . + [{name: "metrics", port: 9153, protocol: "TCP", targetPort: 9153}] end' <<<"$service"
            continue
        fi
        while IFS= read -r line; do
            case $name/$line in
                # The indentation is said, since a Corefile may start with some of its own.
                configmap/'  Corefile: |') printf '%s2\n    COREFILE\n' "$line" && break ;;
                service/'  clusterIP: '*) line='  clusterIP: CLUSTER_DNS_IP' ;;
                rbac/rules:)
                    printf '%s\nRULES\n' "$line"
                    while IFS= read -r line && [[ $line != --- ]]; do :; done
                    ;;
                deployment/*terminationGracePeriodSeconds:*)
                    line="${line% *} $(jq '[30, .lameduck + 25] | max' <<<"${needs:-$none}")"
                    ;;
                deployment/*'- configMap: {name: martlet}')
                    if [[ -n $files ]]; then
                        printf '%s\n' "$line"
                        line="${line/martlet/coredns, optional: true, items: $items}"
                    fi
                    ;;
                network/'  # '*) comment=$line ;;
                network/'  - ports:')
                    printf '%s\n' "$line"
                    more_ports "$comment"
                    continue
                    ;;
            esac
            printf '%s\n' "$line"
        done <"$here/kustomize/base/$name.yaml"
    done
}

fill() {
    local line kind='' text indent
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ ^([[:space:]]*)(COREFILE|RULES)[[:space:]]*$ ]]; then
            indent=${BASH_REMATCH[1]}
            while IFS= read -r text; do
                if [[ -n $text ]]; then text=$indent$text; fi
                printf '%s\n' "$text"
            done < <(if [[ $line == *COREFILE* ]]; then printf '%s\n' "$corefile"; else rules; fi)
            continue
        fi
        line=${line//CLUSTER_DNS_IP/$ip}
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

items=$(jq --compact-output '.data // {} | del(.Corefile) | keys | map({key: ., path: .})' <<<"${map:-null}")
image=${MARTLET_IMAGE:-martlet:0.1.0}
if [[ -n $template ]]; then
    [[ -r $template ]] || fail "cannot read $template"
    if [[ -n $files ]]; then say "the template has to mount more of the ConfigMap coredns: $files"; fi
    fill <"$template"
else
    base_template | fill
fi

say "next: kubectl -n $namespace rollout status deployment martlet"
for deployment in ${replaced//,/ }; do
    say "then: kubectl -n $namespace scale deployment ${deployment%=*} --replicas=0"
done
