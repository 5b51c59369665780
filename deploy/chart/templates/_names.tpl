{{/*
Names are fixed: the operator is there once per cluster. A second release is refused by Helm, because
the first one owns the cluster roles.
*/}}
{{- define "caios.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: caios-federation
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of an object: (list $ "name" "component"), "" for none. The labels stand last, so that a
template can add its own. */}}
{{- define "caios.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "caios.labels" $root | nindent 2 }}
  {{- with index . 2 }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
{{- end }}

{{- define "caios.namespaced" -}}
namespace: {{ (index . 0).Release.Namespace }}
{{ include "caios.metadata" . }}
{{- end }}

{{/* Metadata of a hook: (list $ "name" "event" "weight"). It goes when the hook has succeeded; what
failed stays until the next try, so that its logs can be read. */}}
{{- define "caios.hook" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
labels:
  {{- include "caios.labels" $root | nindent 2 }}
  app.kubernetes.io/component: hook
annotations:
  {{- with $root.Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  helm.sh/hook: {{ index . 2 }}
  helm.sh/hook-weight: {{ index . 3 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "caios.namespacedHook" -}}
{{ include "caios.hook" . }}
namespace: {{ (index . 0).Release.Namespace }}
{{- end }}

{{/* What the Pods of a Deployment are selected by. Never changes: selectors are immutable. */}}
{{- define "caios.selector" -}}
app.kubernetes.io/name: caios-federation
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* A labelSelector of the Pods of several. */}}
{{- define "caios.selectorOf" -}}
matchLabels:
  app.kubernetes.io/name: caios-federation
matchExpressions:
- key: app.kubernetes.io/component
  operator: In
  values: {{ toJson . }}
{{- end }}

{{- define "caios.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A value as text: `--set config.orgID=12345` gives a number, and large ones would print as 1e+06. */}}
{{- define "caios.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{/* Who holds a role: (list $ "kind" "role" "component"). */}}
{{- define "caios.held" -}}
{{- $root := index . 0 -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ index . 1 }}
  name: {{ index . 2 }}
subjects:
- kind: ServiceAccount
  name: {{ index . 3 }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
