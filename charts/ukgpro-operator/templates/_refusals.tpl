{{/* Values that are right by themselves and wrong together: each is refused with what to write. */}}
{{- define "ukgpro-operator.refuse" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- fail "replicas is more than 1, and without leader election each would act; write leaderElection.enabled: true, or replicas: 1" -}}
{{- end -}}
{{- if and .Values.secrets.names (ne .Values.secrets.watch "none") -}}
{{- fail "secrets.names goes with secrets.watch: none, since Kubernetes cannot narrow list and watch by name; write that, or leave out secrets.names" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor.enabled needs the Service it scrapes by; write service.enabled: true" -}}
{{- end -}}
{{- if and .Values.admissionPolicies.hosts.enabled (not .Values.admissionPolicies.hosts.allowed) -}}
{{- fail "admissionPolicies.hosts.enabled without admissionPolicies.hosts.allowed would refuse every connection; write hosts, such as service4.ultipro.com or *.ultipro.com" -}}
{{- end -}}
{{- end -}}
