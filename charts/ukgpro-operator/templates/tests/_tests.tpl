{{/* Where test connections stand: a namespace that the release looks after, its own if that is one. */}}
{{- define "ukgpro-operator.testNamespace" -}}
{{- if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watchNamespaces -}}
{{- end -}}
{{- end -}}

{{- define "ukgpro-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "ukgpro-operator.testPod" -}}
{{- include "ukgpro-operator.podSecurity" . -}}
{{- end -}}

{{/* A container that waits for a condition, by (dict "root" $ "name" CONNECTION "for" CONDITION). */}}
{{- define "ukgpro-operator.testWait" -}}
- name: wait
  image: {{ include "ukgpro-operator.image" (dict "image" .root.Values.image "chart" .root.Chart) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  securityContext:
    {{- include "ukgpro-operator.containerSecurity" .root | nindent 4 }}
  args:
    - wait
    - {{ .name }}
    - --namespace={{ include "ukgpro-operator.testNamespace" .root }}
    - --for={{ .for }}
    - --timeout={{ .root.Values.tests.timeout }}
  resources:
    {{- toYaml .root.Values.resources | nindent 4 }}
{{- end -}}
