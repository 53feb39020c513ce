{{/* The name of everything in this release. */}}
{{- define "sync.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which services, policies and budgets find the pods. They never change. */}}
{{- define "sync.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sync.labels" -}}
{{ include "sync.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The names under which clients in the cluster call the service, and those that the values add. */}}
{{- define "sync.hosts" -}}
{{- $name := include "sync.name" . -}}
{{- $own := list $name -}}
{{- range list "" ".svc" ".svc.cluster.local" -}}
{{- $own = append $own (printf "%s.$(POD_NAMESPACE)%s" $name .) -}}
{{- end -}}
{{- concat $own .Values.allowedHosts | join "," -}}
{{- end -}}

{{/* The directory of the secrets' files. */}}
{{- define "sync.secrets" -}}
/run/secrets/neo4j-falkordb-sync
{{- end -}}
