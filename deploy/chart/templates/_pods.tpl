{{/* The restricted Pod Security profile, and a root file system that nobody writes to. */}}
{{- define "caios.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "caios.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What every Pod of ours has: scheduling apart. enableServiceLinks off keeps variables of Services
out of the environment, whose names begin with CAIOS_ too. */}}
{{- define "caios.pod" -}}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 0 }}
{{- end }}
securityContext:
  {{- include "caios.podSecurity" . | nindent 2 }}
{{- end }}

{{- define "caios.scheduling" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.priorityClass }}
{{- if or .create .name }}
priorityClassName: {{ default "caios-federation" .name }}
{{- end }}
{{- end }}
{{- with (index . 1).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Replicas apart from each other: on nodes by affinity, over zones by spread. Neither is a must,
because a replica beside another is better than none. */}}
{{- define "caios.apart" -}}
{{- $components := index . 0 -}}
{{- $role := index . 1 -}}
affinity:
  {{- with $role.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          {{- include "caios.selectorOf" $components | nindent 10 }}
  {{- end }}
topologySpreadConstraints:
{{- with $role.topologySpreadConstraints }}
{{- toYaml . | nindent 0 }}
{{- else }}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    {{- include "caios.selectorOf" $components | nindent 4 }}
{{- end }}
{{- end }}

{{/* The Deployments of the webhook, as JSON: those that are called, and those that are called again. */}}
{{- define "caios.webhooks" -}}
{{- $first := dict "name" "caios-federation-webhook" "component" "webhook" "replicas" .Values.webhook.replicas -}}
{{- $again := dict "name" "caios-federation-webhook-again" "component" "webhook-again" "replicas" .Values.webhook.againReplicas -}}
{{- if and .Values.webhook.againReplicas (eq .Values.webhook.failurePolicy "Ignore") -}}
{{- list $first $again | toJson -}}
{{- else -}}
{{- list $first | toJson -}}
{{- end -}}
{{- end }}

{{/* Probes ask the port of metrics. Until the process answers at all, the startup probe is patient, and
looks often, because a start takes a second or two; readiness is asked often, because the Service
follows it. */}}
{{- define "caios.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
livenessProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 3
{{- end }}

{{/* Settings that the chart makes of other values: (dict NAME text). */}}
{{- define "caios.ownSettings" -}}
{{- with .Values -}}
CAIOS_ADMISSION__DEADLINE_SECONDS: {{ mulf .webhook.timeoutSeconds 0.8 | quote }}
CAIOS_ADMISSION__DRAIN_SECONDS: {{ .webhook.drainSeconds | quote }}
CAIOS_ADMISSION__LAME_DUCK_SECONDS: {{ .webhook.lameDuckSeconds | quote }}
CAIOS_CERTIFICATES__PROVIDER: {{ .certificates.provider }}
CAIOS_CERTIFICATES__SECRET_NAME: {{ .certificates.secretName }}
CAIOS_LEASE__NAME: caios-federation-controller
CAIOS_LOG__FORMAT: {{ .log.format }}
CAIOS_LOG__LEVEL: {{ .log.level }}
CAIOS_WEBHOOK__FAILURE_POLICY: {{ .webhook.failurePolicy }}
CAIOS_WEBHOOK__OWNER: caios-federation-controller
{{- range include "caios.webhooks" $ | fromJsonArray }}
{{ ternary "CAIOS_WEBHOOK__SERVICE_NAME" "CAIOS_WEBHOOK__SERVICE_AGAIN_NAME" (eq .component "webhook") }}: {{ .name }}
{{- end }}
CAIOS_WEBHOOK__TIMEOUT_SECONDS: {{ .webhook.timeoutSeconds | quote }}
{{- end }}
{{- end }}

{{/* The environment of every process: the chart's settings, then those of .Values.settings. */}}
{{- define "caios.env" -}}
{{- $own := include "caios.ownSettings" . | fromYaml -}}
{{- range $name, $ignored := .Values.settings }}
{{- if or (hasKey $own $name) (has $name (list "CAIOS_COREWEAVE__CA_BUNDLE" "CAIOS_NAMESPACE" "CAIOS_ROLE")) }}
{{- fail (printf "\n\nsettings.%s: the chart makes this setting of other values; remove it from settings (see values.yaml for webhook, certificates, log and coreweave)\n" $name) }}
{{- end }}
{{- end }}
- name: CAIOS_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range $name, $text := $own }}
- name: {{ $name }}
  value: {{ $text | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ include "caios.text" $value | quote }}
{{- end }}
{{- end }}

{{/* How CoreWeave is reached. What is inside of the cluster is never proxied. */}}
{{- define "caios.coreweave" -}}
{{- if .Values.coreweave.caBundle }}
- name: CAIOS_COREWEAVE__CA_BUNDLE
  value: /etc/caios-federation/ca-bundle/ca.crt
{{- end }}
{{- with .Values.proxy }}
{{- if .https }}
- name: HTTPS_PROXY
  value: {{ .https | quote }}
- name: NO_PROXY
  value: {{ join "," (concat (list "$(KUBERNETES_SERVICE_HOST)" "localhost" "127.0.0.1" ".svc" ".cluster.local") .noProxy) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Image and security of a container. */}}
{{- define "caios.container" -}}
image: {{ include "caios.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "caios.containerSecurity" . | nindent 2 }}
{{- end }}

{{/* A Job of a hook that runs one verb: (list $ "name" "event" "seconds" "argument"...). */}}
{{- define "caios.hookJob" -}}
{{- $root := index . 0 -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "caios.hook" (list $root (index . 1) (index . 2) 0) | nindent 2 }}
    # What it says is shown by Helm, from version 3.17 on.
    helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
  namespace: {{ $root.Release.Namespace }}
spec:
  backoffLimit: {{ ternary 0 3 (eq (index . 2) "test") }}
  activeDeadlineSeconds: {{ index . 3 }}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: caios-federation
        app.kubernetes.io/component: hook
        caios-federation-hook: {{ index . 2 }}
        {{- with $root.Values.commonLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ index . 1 }}
      restartPolicy: Never
      {{- include "caios.pod" $root | nindent 6 }}
      {{- with include "caios.scheduling" (list (dict "Values" (dict "priorityClass" dict)) $root.Values.hooks) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
      - name: {{ index . 1 }}
        {{- include "caios.container" $root | nindent 8 }}
        args: {{ slice . 4 | toJson }}
        env:
        {{- include "caios.env" $root | trim | nindent 8 }}
        resources:
          {{- toYaml $root.Values.hooks.resources | nindent 10 }}
        volumeMounts:
        - name: tmp
          mountPath: /tmp
      volumes:
      - name: tmp
        emptyDir:
          sizeLimit: 16Mi
{{- end }}

{{/* The ServiceAccount of a hook, and its way out of a namespace that denies by default. */}}
{{- define "caios.hookAccount" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "caios.namespacedHook" (append . -10) | nindent 2 }}
automountServiceAccountToken: false
{{- if $root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "caios.namespacedHook" (append . -10) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "caios.selector" "hook" | nindent 6 }}
      caios-federation-hook: {{ index . 2 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
  {{- include "caios.egress" $root | nindent 2 }}
{{- end }}
{{- end }}

{{/* What everybody may call: DNS and the API server. Neither has labels that could be selected. */}}
{{- define "caios.egress" -}}
- ports:
  - {port: 53, protocol: UDP}
  - {port: 53, protocol: TCP}
{{ include "caios.egressTo" .Values.networkPolicy.apiServer }}
{{- end }}

{{- define "caios.egressTo" -}}
- ports:
  {{- range .ports }}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
  {{- with .cidrs }}
  to:
  {{- range . }}
  - ipBlock:
      cidr: {{ . | quote }}
  {{- end }}
  {{- end }}
{{- end }}
