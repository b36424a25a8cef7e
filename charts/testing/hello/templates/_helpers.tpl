{{- define "name" -}}
{{ .Values.name | default .Chart.Name }}
{{- end }}
