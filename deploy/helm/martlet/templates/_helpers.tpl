{{- define "martlet.labels" -}}
app.kubernetes.io/name: martlet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- /* Ports of servers beside 53: a list of `port` and `protocol`. TCP comes with plain DNS. */ -}}
{{- define "martlet.morePorts" -}}
{{- $ports := dict }}
{{- range .Values.servers }}
{{- $port := int .port }}
{{- range .zones }}
{{- if ne $port 53 }}
{{- $_ := set $ports (printf "tcp-%d" $port) (dict "port" $port "protocol" "TCP") }}
{{- if has (.scheme | default "dns://") (list "dns://") }}
{{- $_ := set $ports (printf "udp-%d" $port) (dict "port" $port "protocol" "UDP") }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $ports }}
{{- end -}}
{{- /* What the manifests take for granted of a Corefile. */ -}}
{{- define "martlet.check" -}}
{{- $ports := list }}
{{- $plugins := list }}
{{- range .Values.servers }}
{{- $ports = append $ports (int .port) }}
{{- range .plugins }}{{ $plugins = append $plugins .name }}{{ end }}
{{- end }}
{{- if not (has 53 $ports) }}{{ fail "one of `servers` needs port 53, where the Service sends questions" }}{{ end }}
{{- range list "health" "ready" }}
{{- if not (has . $plugins) }}{{ fail (printf "one of `servers` needs the plugin `%s`, which a probe asks" .) }}{{ end }}
{{- end }}
{{- end -}}
{{- define "martlet.corefile" -}}
{{- range .Values.servers }}
{{- $port := .port }}
{{- range $n, $zone := .zones }}{{ if $n }} {{ end }}{{ $zone.scheme }}{{ $zone.zone }}:{{ $port }}{{ end }} {
{{- range .plugins }}
    {{ .name }}{{ if .parameters }} {{ .parameters }}{{ end }}{{ if .configBlock }} {
{{ .configBlock | indent 8 }}
    }{{ end }}
{{- end }}
}
{{ end }}
{{- end -}}
