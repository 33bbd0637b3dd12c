{{- define "martlet.labels" -}}
app.kubernetes.io/name: martlet
app.kubernetes.io/instance: {{ .Release.Name }}
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
