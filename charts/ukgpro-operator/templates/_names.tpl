{{- define "ukgpro-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* Of all objects of a namespace, and of the Lease. 43 leaves room for what is put behind it. */}}
{{- define "ukgpro-operator.fullname" -}}
{{- $name := include "ukgpro-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of objects of the cluster, which releases of the same name in other namespaces have too. */}}
{{- define "ukgpro-operator.clusterName" -}}
{{- printf "%s.%s" (include "ukgpro-operator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "ukgpro-operator.ledger" -}}
{{- include "ukgpro-operator.fullname" . }}-ledger
{{- end -}}

{{- define "ukgpro-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ukgpro-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Of all pods of the release, `helm test` included: what the NetworkPolicy goes by. */}}
{{- define "ukgpro-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ukgpro-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ukgpro-operator.labels" -}}
{{ include "ukgpro-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image, by (dict "image" VALUES "chart" .Chart). */}}
{{- define "ukgpro-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What Kubernetes' restricted pod security asks for, of a container. */}}
{{- define "ukgpro-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "ukgpro-operator.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.pod.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "ukgpro-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "ukgpro-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
