{{/* The operator's flags that do not depend on which of the release's operators it is. */}}
{{- define "ukgpro-operator.flags" -}}
- --watch-secrets={{ .Values.secrets.watch }}
{{- if .Values.operator.allowPrivateAddresses }}
- --allow-private-addresses
{{- end }}
- --heartbeat={{ .Values.operator.heartbeat }}
- --concurrency={{ int .Values.operator.concurrency }}
- --logins-per-day={{ int .Values.operator.loginsPerDay }}
- --refused-logins-per-day={{ int .Values.operator.refusedLoginsPerDay }}
- --host-rate={{ int .Values.operator.hostRate }}
- --host-concurrency={{ int .Values.operator.hostConcurrency }}
{{- with int .Values.operator.kubeApiQps }}
- --kube-api-qps={{ . }}
{{- end }}
{{- with int .Values.operator.kubeApiBurst }}
- --kube-api-burst={{ . }}
{{- end }}
{{- with int .Values.operator.workerThreads }}
- --worker-threads={{ . }}
{{- end }}
- --metrics-address={{ .Values.listen.host }}:{{ int .Values.listen.metricsPort }}
- --health-address={{ .Values.listen.host }}:{{ int .Values.listen.healthPort }}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
{{- end -}}

{{- define "ukgpro-operator.probes" -}}
livenessProbe:
  httpGet:
    path: /livez
    port: health
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: health
  timeoutSeconds: 5
{{- end -}}

{{- define "ukgpro-operator.ports" -}}
- name: metrics
  containerPort: {{ int .Values.listen.metricsPort }}
- name: health
  containerPort: {{ int .Values.listen.healthPort }}
{{- end -}}
