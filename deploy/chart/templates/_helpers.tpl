{{- define "ringvault.name" -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- end }}

{{- define "ringvault.labels" -}}
app.kubernetes.io/name: ringvault
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ringvault.schedulerSelector" -}}
app.kubernetes.io/name: ringvault
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: scheduler
{{- end }}

{{- define "ringvault.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end }}

{{/* What schedulers and workers say alike. Secrets lie in /etc/ringvault/secrets. */}}
{{- define "ringvault.common" -}}
[rabbitmq]
url_file = "/etc/ringvault/secrets/amqp-url"
[signing]
key_file = "/etc/ringvault/secrets/signing-key"
[vault]
url = {{ .Values.vault.url | quote }}
deployment = {{ .Values.vault.deployment | quote }}
{{- with .Values.vault.region }}
region = {{ . | quote }}
{{- end }}
{{- with .Values.vault.endpoint }}
endpoint = {{ . | quote }}
{{- end }}
{{- if .Values.vault.pathStyle }}
path_style = true
{{- end }}
{{- if .Values.vault.accessKeys }}
access_key_file = "/etc/ringvault/secrets/access-key"
secret_key_file = "/etc/ringvault/secrets/secret-key"
{{- end }}
{{- if .Values.vault.encrypted }}
[vault.encryption]
key_file = "/etc/ringvault/secrets/vault-key"
{{- end }}
{{- end }}

{{- define "ringvault.schedulerConfig" -}}
# The id is the pod's name, given by RINGVAULT_SCHEDULER_ID.
listen = "0.0.0.0:8780"
[postgres]
url_file = "/etc/ringvault/secrets/postgres-url"
[api]
admin_token_file = "/etc/ringvault/secrets/admin-token"
{{ include "ringvault.common" . }}
{{- if .Values.oidc.issuer }}
[oidc]
issuer = {{ .Values.oidc.issuer | quote }}
client_id = {{ .Values.oidc.clientId | quote }}
base_url = {{ required "oidc.baseUrl: where browsers reach the schedulers" .Values.oidc.baseUrl | quote }}
{{- if not .Values.oidc.publicClient }}
client_secret_file = "/etc/ringvault/secrets/oidc-secret"
{{- end }}
{{- with .Values.oidc.name }}
name = {{ . | quote }}
{{- end }}
{{- with .Values.oidc.settings }}
{{ . }}
{{- end }}
[oidc.groups]
{{- range $group, $role := .Values.oidc.groups }}
{{ $group | quote }} = {{ $role | quote }}
{{- end }}
[oidc.users]
{{- range $user, $role := .Values.oidc.users }}
{{ $user | quote }} = {{ $role | quote }}
{{- end }}
{{- end }}
{{- with .Values.scheduler.extraConfig }}
{{ . }}
{{- end }}
{{- end }}

{{/* Needs no root, no right of its own and no file system that can be written to. */}}
{{- define "ringvault.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}
