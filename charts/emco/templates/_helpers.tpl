{{/* The labels that select one component's pods. Call with (list . "api"). */}}
{{- define "emco.selectorLabels" -}}
app.kubernetes.io/name: emco
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of one component's objects. */}}
{{- define "emco.labels" -}}
{{ include "emco.selectorLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* The Secret with the database's URL and the keys. */}}
{{- define "emco.secret" -}}
{{ .Values.existingSecret | default .Release.Name }}
{{- end }}

{{/* What both processes need to know; secrets come from the Secret, never from an argument. */}}
{{- define "emco.environment" -}}
- name: EMCO_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "emco.secret" . }}
      key: database-url
- name: EMCO_SECRET_KEYS
  valueFrom:
    secretKeyRef:
      name: {{ include "emco.secret" . }}
      key: secret-keys
- name: EMCO_TEMPORAL_ADDRESS
  value: {{ required "set temporal.address to host:port of a Temporal frontend" .Values.temporal.address | quote }}
- name: EMCO_TEMPORAL_NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
- name: EMCO_TASK_QUEUE
  value: {{ .Values.temporal.taskQueue | quote }}
- name: EMCO_DATA
  value: /data
- name: EMCO_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: EMCO_LOG_FORMAT
  value: json
{{- end }}

{{- define "emco.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "emco.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end }}
