{{- /* A setting from a Secret: (list "DATABASE__URL" .Values.secrets.operatorDatabaseUrl) */}}
{{- define "tenantry.secretSetting" -}}
- name: TENANTRY__{{ index . 0 }}
  valueFrom:
    secretKeyRef: {{ toJson (index . 1) }}
{{- end }}

{{- /* A plain setting: (list "LOG__FILTER" "info") */}}
{{- define "tenantry.setting" -}}
- name: TENANTRY__{{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}

{{- /* What both programs need of more instances: (list $ "operatorUrl") */}}
{{- define "tenantry.instanceSettings" -}}
{{- $root := index . 0 }}{{ $postgresUrl := index . 1 }}
{{- range $kind, $instances := $root.Values.instances }}
{{- range $name, $instance := $instances }}
{{- $key := printf "INSTANCES__%s__%s" (upper $kind) ($name | upper | replace "-" "_") }}
{{- if eq $kind "postgres" }}
{{- with index $instance $postgresUrl }}
{{ include "tenantry.secretSetting" (list (printf "%s__URL" $key) .) }}
{{- end }}
{{- else if $instance.masterKey }}
{{ include "tenantry.setting" (list (printf "%s__URL" $key) $instance.url) }}
{{ include "tenantry.secretSetting" (list (printf "%s__MASTER_KEY" $key) $instance.masterKey) }}
{{- else if $instance.url }}
{{ include "tenantry.secretSetting" (list (printf "%s__URL" $key) $instance.url) }}
{{- end }}
{{- if hasKey $instance "capacity" }}
{{ include "tenantry.setting" (list (printf "%s__CAPACITY" $key) (int $instance.capacity)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What both programs need. */}}
{{- define "tenantry.commonSettings" -}}
{{ include "tenantry.secretSetting" (list "DATABASE__TRAFFIC_KEY" .Values.secrets.trafficKey) }}
{{ include "tenantry.secretSetting" (list "REDIS__URL" .Values.secrets.redisUrl) }}
{{- with .Values.search.url }}
{{ include "tenantry.setting" (list "SEARCH__URL" .) }}
{{ include "tenantry.secretSetting" (list "SEARCH__MASTER_KEY" $.Values.secrets.searchMasterKey) }}
{{- end }}
{{ include "tenantry.setting" (list "METRICS__LISTEN" "0.0.0.0:9090") }}
{{ include "tenantry.setting" (list "LOG__FILTER" .Values.log.filter) }}
{{ include "tenantry.setting" (list "LOG__FORMAT" .Values.log.format) }}
{{- end }}

{{- define "tenantry.operatorSettings" -}}
{{ include "tenantry.secretSetting" (list "DATABASE__URL" .Values.secrets.operatorDatabaseUrl) }}
{{ include "tenantry.secretSetting" (list "DATABASE__PROVISIONER_KEY" .Values.secrets.provisionerKey) }}
{{ include "tenantry.commonSettings" . }}
{{- include "tenantry.instanceSettings" (list . "operatorUrl") }}
{{ include "tenantry.setting" (list "LEADER__NAMESPACE" .Release.Namespace) }}
{{ include "tenantry.setting" (list "LEADER__LEASE" (include "tenantry.lease" .)) }}
{{ include "tenantry.setting" (list "LEADER__DURATION_SECONDS" .Values.operator.leader.durationSeconds) }}
{{ include "tenantry.setting" (list "LEADER__RENEW_SECONDS" .Values.operator.leader.renewSeconds) }}
{{ include "tenantry.setting" (list "RECONCILE__CONCURRENCY" .Values.operator.concurrency) }}
{{ include "tenantry.setting" (list "RECONCILE__DEADLINE_SECONDS" .Values.operator.deadlineSeconds) }}
{{ include "tenantry.setting" (list "RECONCILE__RESYNC_SECONDS" .Values.operator.resyncSeconds) }}
{{ include "tenantry.setting" (list "RECONCILE__DRIFT_SCAN_SECONDS" .Values.operator.driftScanSeconds) }}
{{ include "tenantry.setting" (list "ACCESS__SECRET_NAMESPACES" (toJson .Values.operator.secretNamespaces)) }}
{{ include "tenantry.setting" (list "ACCESS__PUBLIC_ADDRESSES" (toJson .Values.operator.publicAddresses)) }}
{{- with .Values.snapshots }}{{ if .url }}
{{ include "tenantry.setting" (list "SNAPSHOTS__URL" .url) }}
{{- with .endpoint }}
{{ include "tenantry.setting" (list "SNAPSHOTS__ENDPOINT" .) }}
{{- end }}
{{- with .region }}
{{ include "tenantry.setting" (list "SNAPSHOTS__REGION" .) }}
{{- end }}
{{ include "tenantry.setting" (list "SNAPSHOTS__CONCURRENCY" .concurrency) }}
{{ include "tenantry.setting" (list "SNAPSHOTS__TIMEOUT_SECONDS" .timeoutSeconds) }}
{{- with $.Values.secrets.snapshotAccessKeyId }}{{ if .name }}
{{ include "tenantry.secretSetting" (list "SNAPSHOTS__ACCESS_KEY_ID" .) }}
{{ include "tenantry.secretSetting" (list "SNAPSHOTS__SECRET_ACCESS_KEY" $.Values.secrets.snapshotSecretAccessKey) }}
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- end }}

{{- define "tenantry.lease" -}}
{{ include "tenantry.name" . }}-operator
{{- end }}

{{- /* What both roles of the control plane need: (list $ .Values.serve) */}}
{{- define "tenantry.controlPlaneSettings" -}}
{{- $root := index . 0 }}{{ $role := index . 1 }}{{ $secrets := $root.Values.secrets }}
{{- if not (or $secrets.hs256Secret.name $secrets.ed25519PublicKey.name $secrets.signingKeys.name) }}
{{- fail "secrets.hs256Secret.name, secrets.ed25519PublicKey.name or secrets.signingKeys.name: at least one key is needed to check tokens" }}
{{- end -}}
{{ include "tenantry.secretSetting" (list "DATABASE__URL" $secrets.controlPlaneDatabaseUrl) }}
{{ include "tenantry.commonSettings" $root }}
{{- include "tenantry.instanceSettings" (list $root "controlPlaneUrl") }}
{{ include "tenantry.setting" (list "DATABASE__SLICE_MILLISECONDS" $role.sliceMilliseconds) }}
{{ include "tenantry.setting" (list "DATABASE__SLOW_CONNECTIONS" $role.slowConnections) }}
{{ include "tenantry.setting" (list "DATABASE__SLOW_CONNECTIONS_PER_TENANT" $role.slowConnectionsPerTenant) }}
{{ include "tenantry.setting" (list "DATABASE__DEDICATED_CONNECTIONS" $role.dedicatedConnections) }}
{{ include "tenantry.setting" (list "DATABASE__DEDICATED_CONNECTIONS_PER_TENANT" $role.dedicatedConnectionsPerTenant) }}
{{ include "tenantry.setting" (list "AUTH__ISSUER" $root.Values.auth.issuer) }}
{{ include "tenantry.setting" (list "AUTH__AUDIENCE" $root.Values.auth.audience) }}
{{- if $secrets.hs256Secret.name }}
{{ include "tenantry.secretSetting" (list "AUTH__HS256_SECRET" $secrets.hs256Secret) }}
{{- end }}
{{- if $secrets.ed25519PublicKey.name }}
{{ include "tenantry.setting" (list "AUTH__ED25519_PUBLIC_KEY" "/etc/tenantry/auth/ed25519-public.pem") }}
{{- end }}
{{- if $secrets.signingKeys.name }}
{{ include "tenantry.setting" (list "AUTH__KEYS_FOLDER" "/etc/tenantry/keys") }}
{{- end }}
{{ include "tenantry.setting" (list "AUTH__CLOCK_TOLERANCE_SECONDS" $root.Values.auth.clockToleranceSeconds) }}
{{- with $secrets.keyring }}{{ if .name }}
{{ include "tenantry.setting" (list "KEYRING__FOLDER" "/etc/tenantry/keyring") }}
{{ include "tenantry.setting" (list "KEYRING__PRIMARY" (required "secrets.keyring.primary: the name of the key that seals" .primary)) }}
{{- end }}{{ end }}
{{- with $root.Values.auth.privateNetworks }}
{{ include "tenantry.setting" (list "AUTH__PRIVATE_NETWORKS" (toJson .)) }}
{{- end }}
{{- end }}

{{- define "tenantry.authMount" -}}
{{- $public := .Values.secrets.ed25519PublicKey.name }}{{ $keys := .Values.secrets.signingKeys.name }}
{{- $keyring := .Values.secrets.keyring.name }}
{{- if or $public $keys $keyring }}
volumeMounts:
  {{- if $public }}
  - {name: auth, mountPath: /etc/tenantry/auth, readOnly: true}
  {{- end }}
  {{- if $keys }}
  - {name: keys, mountPath: /etc/tenantry/keys, readOnly: true}
  {{- end }}
  {{- if $keyring }}
  - {name: keyring, mountPath: /etc/tenantry/keyring, readOnly: true}
  {{- end }}
{{- end }}
{{- end }}

{{- define "tenantry.authVolume" -}}
{{- $public := .Values.secrets.ed25519PublicKey }}{{ $keys := .Values.secrets.signingKeys }}
{{- $keyring := .Values.secrets.keyring }}
{{- if or $public.name $keys.name $keyring.name }}
volumes:
  {{- if $public.name }}
  - name: auth
    secret:
      secretName: {{ $public.name }}
      items: [{key: {{ $public.key }}, path: ed25519-public.pem}]
  {{- end }}
  {{- if $keys.name }}
  - name: keys
    secret: {secretName: {{ $keys.name }}}
  {{- end }}
  {{- if $keyring.name }}
  - name: keyring
    secret: {secretName: {{ $keyring.name }}}
  {{- end }}
{{- end }}
{{- end }}
