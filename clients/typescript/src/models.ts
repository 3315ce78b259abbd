// What gateways answer. Made by tools/generate_clients.py from the OpenAPI document: change that, not this.
// A newer gateway may answer with more fields, and with words that are not listed here. Times are RFC 3339.

export type Threat =
  | "jailbreak"
  | "system_prompt_leak"
  | "injection"
  | "data_extraction"
  | "encoding_attack"
  | "delimiter_attack";

/** The verdict on the text of one request. */
export interface Verdict {
  /** `confidence` has reached the threshold. */
  readonly is_malicious: boolean;
  readonly confidence: number;
  /** Empty unless malicious. */
  readonly threat_types: readonly Threat[];
  /** What was found and where; empty unless asked for, or nobody judged in time. */
  readonly reason: string;
  readonly processing_time_ms: number;
  readonly cache_hit: boolean;
  /** Who judged: an engine by its name, or `embedded`. */
  readonly engine: string;
  /** The embedded detector stood in for an engine, or nobody judged in time. */
  readonly degraded: boolean;
  readonly request_id: string;
  readonly metadata: Readonly<Record<string, unknown>> | null;
}

/** What the caller had, as of a few seconds ago. */
export interface ProfileUsage {
  /** Since midnight, UTC. */
  readonly requests_today: number;
  /** Of these, answered with 4xx or 5xx. */
  readonly errors_today: number;
  readonly requests_this_minute: number;
}

/** The caller, whatever it is. What a kind of caller does not have is null. */
export interface Profile {
  readonly kind: "key" | "person" | "device";
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly roles: readonly string[];
  /** All that the caller may do, that of its roles included. */
  readonly permissions: readonly string[];
  readonly usage: ProfileUsage;
  readonly email?: string | null;
  readonly created_at?: string | null;
  readonly last_used_at?: string | null;
  readonly expires_at?: string | null;
  readonly is_active?: boolean;
  readonly rate_limit_per_minute?: number | null;
  readonly rate_limit_per_day?: number | null;
  /** The key's first characters. */
  readonly hint?: string | null;
}

/** An API key, without the key. A limit that is 0 or empty is none. */
export interface Key {
  readonly id: string;
  readonly name: string;
  /** Id of a person. */
  readonly owner: string | null;
  readonly tenant: string;
  readonly permissions: readonly string[];
  readonly rate_limit_per_minute: number;
  readonly rate_limit_per_day: number;
  readonly window: string;
  readonly rate: string;
  readonly burst: number;
  readonly quota: string;
  readonly networks: readonly string[];
  readonly created_at: string;
  readonly last_used_at: string | null;
  /** Of a rotated key: the end of its grace. */
  readonly expires_at: string | null;
  /** Neither revoked nor expired. */
  readonly is_active: boolean;
  /** The key's first characters. */
  readonly hint: string;
  /** Id of the key whose successor this is. */
  readonly replaces: string | null;
}

/** A key that was just issued: the only time that it is shown. */
export interface IssuedKey {
  readonly id: string;
  readonly name: string;
  /** Id of a person. */
  readonly owner: string | null;
  readonly tenant: string;
  readonly permissions: readonly string[];
  readonly rate_limit_per_minute: number;
  readonly rate_limit_per_day: number;
  readonly window: string;
  readonly rate: string;
  readonly burst: number;
  readonly quota: string;
  readonly networks: readonly string[];
  readonly created_at: string;
  readonly last_used_at: string | null;
  /** Of a rotated key: the end of its grace. */
  readonly expires_at: string | null;
  /** Neither revoked nor expired. */
  readonly is_active: boolean;
  /** The key's first characters. */
  readonly hint: string;
  /** Id of the key whose successor this is. */
  readonly replaces: string | null;
  /** The key itself. Keep it: it can't be shown again. */
  readonly key: string;
}

/** The new key, and until when the old one works. */
export interface RotatedKey {
  readonly id: string;
  readonly name: string;
  /** Id of a person. */
  readonly owner: string | null;
  readonly tenant: string;
  readonly permissions: readonly string[];
  readonly rate_limit_per_minute: number;
  readonly rate_limit_per_day: number;
  readonly window: string;
  readonly rate: string;
  readonly burst: number;
  readonly quota: string;
  readonly networks: readonly string[];
  readonly created_at: string;
  readonly last_used_at: string | null;
  /** Of a rotated key: the end of its grace. */
  readonly expires_at: string | null;
  /** Neither revoked nor expired. */
  readonly is_active: boolean;
  /** The key's first characters. */
  readonly hint: string;
  /** Id of the key whose successor this is. */
  readonly replaces: string | null;
  /** The key itself. Keep it: it can't be shown again. */
  readonly key: string;
  readonly old_key_expires_at: string;
}

/** How a webhook does. Latency is that of all attempts, failed ones too. */
export interface WebhookStats {
  /** Attempts that succeeded. */
  readonly delivered: number;
  /** Attempts that did not. */
  readonly failed: number;
  /** Of all attempts; null: there was none. */
  readonly success_rate: number | null;
  readonly mean_duration_ms: number | null;
  /** Deliveries that wait. */
  readonly pending: number;
  /** Deliveries that were not made, since too many waited. */
  readonly dropped: number;
  readonly last_success_at: string | null;
  readonly last_failure_at: string | null;
  /** The first failure since the last success. */
  readonly failing_since: string | null;
}

/** A webhook, without its secret. */
export interface Webhook {
  readonly id: string;
  readonly url: string;
  readonly events: readonly string[];
  readonly retry_count: number;
  readonly created_at: string;
  readonly is_active: boolean;
  readonly disabled_at: string | null;
  /** gone: it answered 410; failing: it had failed for five days. */
  readonly disabled_for: string | null;
  readonly stats: WebhookStats;
}

/** A webhook that was just registered: the only time that its secret is shown. */
export interface RegisteredWebhook {
  readonly id: string;
  readonly url: string;
  readonly events: readonly string[];
  readonly retry_count: number;
  readonly created_at: string;
  readonly is_active: boolean;
  readonly disabled_at: string | null;
  /** gone: it answered 410; failing: it had failed for five days. */
  readonly disabled_for: string | null;
  readonly stats: WebhookStats;
  /** What its messages are signed with. Keep it: it can't be shown again. */
  readonly secret: string;
}

/** A secret that was just made: the only time that it is shown. */
export interface NewSecret {
  readonly secret: string;
  /** Until then messages carry a signature of each. */
  readonly old_secret_expires_at: string;
}

/** One call. */
export interface Attempt {
  readonly number: number;
  readonly at: string;
  /** null: there was no answer; `error` tells why. */
  readonly http_status: number | null;
  /** At most 64 KiB of it; what is not UTF-8 is replaced. */
  readonly response_body: string;
  readonly duration_ms: number;
  readonly error: string | null;
}

/** One event for one webhook. Its id is the webhook-id of every attempt. */
export interface Delivery {
  readonly id: string;
  readonly event: string;
  readonly state: "pending" | "succeeded" | "failed";
  readonly created_at: string;
  readonly ended_at: string | null;
  readonly next_attempt_at: string | null;
  readonly attempts: readonly Attempt[];
}

/** What came of a test. */
export interface WebhookTest {
  readonly delivered: boolean;
  /** null when it was a URL: nothing is kept of that. */
  readonly delivery_id: string | null;
  readonly attempt: Attempt;
}

/** A delivery that is sent again. */
export interface Replayed {
  readonly id: string;
  readonly state: "pending";
}
