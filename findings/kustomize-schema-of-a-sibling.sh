#!/usr/bin/env bash
# kustomize 5.8.1: the `openapi` of one kustomization decides how a sibling's Deployment is patched.
#
# Expected: a kustomization that names a schema for a custom resource of its own (`openapi: {path: ...}`, the documented way to have
# its lists merged by key) changes how that resource is patched, in that kustomization.
#
# Seen: the schema takes the place of Kustomize's own, and stays for all that is built after it in the same run. A strategic-merge
# patch of one container in an unrelated sibling then replaces the list of containers: the other container is gone, with no error and no
# warning. Listing the two siblings the other way round brings it back, so the order of `resources` decides.
#
# Output seen:
#   workload first: name: proxy, name: server
#   connection first: name: server
set -euo pipefail
directory=$(mktemp -d)
trap 'chmod -R u+w "$directory"; rm -rf "$directory"' EXIT
cd "$directory"

export GOBIN=$directory/bin GOPATH=$directory/go GOCACHE=$directory/cache GOFLAGS=-modcacherw
go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.1 2>/dev/null

mkdir connection workload top
cat > connection/object.yaml <<'EOF'
apiVersion: example.com/v1
kind: Account
metadata: {name: account}
spec: {rows: [{name: a}]}
EOF
cat > connection/schema.json <<'EOF'
{"definitions": {"com.example.v1.Account": {
  "type": "object",
  "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Account"}],
  "properties": {"spec": {"type": "object", "properties": {"rows": {
    "type": "array", "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge",
    "items": {"type": "object"}}}}}}}}
EOF
cat > connection/kustomization.yaml <<'EOF'
resources: [object.yaml]
openapi: {path: schema.json}
EOF
cat > workload/object.yaml <<'EOF'
apiVersion: apps/v1
kind: Deployment
metadata: {name: workload}
spec:
  template:
    spec:
      containers:
        - {name: proxy, image: proxy}
        - {name: server, image: server}
EOF
cat > workload/kustomization.yaml <<'EOF'
resources: [object.yaml]
patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: workload}
      spec: {template: {spec: {containers: [{name: server, image: server:2}]}}}
EOF

containers() {
  printf 'resources: [%s]\n' "$1" > top/kustomization.yaml
  bin/kustomize build top | sed -n '/containers:/,/^---/p' | grep -o 'name: .*' | sort | paste -sd, | sed 's/,/, /g'
}
diff - <(echo "workload first: $(containers '../workload, ../connection')"; echo "connection first: $(containers '../connection, ../workload')") <<'EOF'
workload first: name: proxy, name: server
connection first: name: server
EOF
echo "still so"
