{{- define "gateway.selector" -}}
app.kubernetes.io/name: gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "gateway.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- if not $settings.control.hosts -}}
{{- $control := printf "%s-control" .Release.Name -}}
{{- $_ := set $settings.control "hosts" (list $control (printf "*.%s" $control) "*.svc" "*.svc.cluster.local") -}}
{{- end -}}
{{ toYaml $settings }}
{{- end }}
