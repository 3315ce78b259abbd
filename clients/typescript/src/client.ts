import {
  type Accepted,
  type Batch,
  type BatchItem,
  type DetectOptions,
  type Job,
  given,
  question,
  questions,
  verdict,
} from "./detection.js";
import { JobFailed, JobUnfinished } from "./errors.js";
import type {
  Delivery,
  IssuedKey,
  Key,
  NewSecret,
  Profile,
  RegisteredWebhook,
  Replayed,
  RotatedKey,
  Verdict,
  Webhook,
  WebhookTest,
} from "./models.js";
import { type Options, Wire, object, pages, part, sleep } from "./wire.js";

const API = "/api/v1";
const SLOWER = 1.5;
const SELDOMEST = 5_000; // milliseconds

/** A gateway, as its clients see it. Every method throws the errors of this package. */
export class Portico {
  readonly keys: Keys;
  readonly webhooks: Webhooks;
  readonly #wire: Wire;

  constructor(options: Options = {}) {
    this.#wire = new Wire(options);
    this.keys = new Keys(this.#wire);
    this.webhooks = new Webhooks(this.#wire);
  }

  /** Whether `text` (1 to 10,000 characters) tries to take over a language model. `fresh` wants no cached answer. */
  async detect(text: string, options: DetectOptions & { readonly fresh?: boolean } = {}): Promise<Verdict> {
    const headers = options.fresh ? { "Cache-Control": "no-cache" } : {};
    const body = question(text, options);
    return verdict(
      await this.#wire.send({ method: "POST", path: `${API}/detect`, body, headers, signal: options.signal }),
    );
  }

  /** Judge 1 to 100 texts. What goes wrong with one is told among `errors`, and leaves the others alone. */
  async detectBatch(
    items: readonly BatchItem[],
    options: { readonly webhook_url?: string; readonly signal?: AbortSignal } = {},
  ): Promise<Batch> {
    const body = questions(items, options.webhook_url);
    const answer = await this.#wire.send({ method: "POST", path: `${API}/detect/batch`, body, signal: options.signal });
    return object<Batch>(answer, "results", "errors", "counts");
  }

  /** Judge `text` in the background. The same `idempotencyKey` with the same text is the same job. */
  async detectAsync(text: string, options: DetectOptions & { readonly idempotencyKey?: string } = {}): Promise<Accepted> {
    // There always is one, so that trying again makes no second job.
    const headers = { "Idempotency-Key": options.idempotencyKey ?? crypto.randomUUID() };
    const body = question(text, options);
    const path = `${API}/detect/async`;
    const answer = await this.#wire.send({ method: "POST", path, body, headers, signal: options.signal });
    return object<Accepted>(answer, "job_id", "status_url");
  }

  /** How far a background job is. */
  async job(jobId: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Job> {
    const answer = await this.#wire.send({ method: "GET", path: `${API}/detect/jobs/${part(jobId)}`, signal });
    return object<Job>(answer, "status");
  }

  /**
   * The verdict of a background job, once it is there.
   *
   * Asks every `poll` milliseconds, later less often. JobFailed when it ended without one, JobUnfinished after
   * `timeout` milliseconds.
   */
  async waitForJob(
    jobId: string,
    options: { readonly timeout?: number; readonly poll?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Verdict> {
    const until = Date.now() + (options.timeout ?? 60_000);
    let step = options.poll ?? 250;
    for (;;) {
      const found = await this.job(jobId, options);
      if (found.result) return verdict(found.result);
      if (["succeeded", "failed", "cancelled"].includes(found.status)) throw new JobFailed(jobId, found.status);
      const left = until - Date.now();
      if (left <= 0) throw new JobUnfinished(jobId, found.status);
      await sleep(Math.min(left, step * (0.8 + Math.random() * 0.4)), options.signal);
      step = Math.min(SELDOMEST, step * SLOWER);
    }
  }
}

/** What an administrator says of a key to be issued. */
export interface NewKey {
  readonly permissions?: readonly string[];
  readonly tenant?: string;
  readonly owner?: string;
  readonly rate_limit_per_minute?: number;
  readonly rate_limit_per_day?: number;
  /** Instead of the limit per minute: `60/minute`. */
  readonly window?: string;
  /** A steady rate instead of a window: `10/second`. */
  readonly rate?: string;
  readonly burst?: number;
  readonly networks?: readonly string[];
  /** Seconds. */
  readonly expires_in?: number;
}

/** API keys: the one that the client uses, and, for administrators, all of the tenant. */
export class Keys {
  readonly #wire: Wire;

  /** @internal */
  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Who the caller is, what it may and what it has used. */
  async profile(): Promise<Profile> {
    return object<Profile>(await this.#wire.send({ method: "GET", path: `${API}/auth/profile` }), "kind", "id");
  }

  /** Replace the client's own key, which works for `graceSeconds` more. The client goes on with the new one. */
  async rotate(graceSeconds = 0): Promise<RotatedKey> {
    const body = { grace_seconds: graceSeconds };
    const made = object<RotatedKey>(await this.#wire.send({ method: "POST", path: `${API}/auth/rotate-key`, body }), "key");
    this.#wire.use(made.key);
    return made;
  }

  /** End the client's own key. */
  async revoke(): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/auth/revoke` });
  }

  /** Issue a key. Its `key` is shown this once. */
  async create(name: string, options: NewKey = {}): Promise<IssuedKey> {
    const body = given({ name, ...options });
    return object<IssuedKey>(await this.#wire.send({ method: "POST", path: `${API}/admin/keys`, body }), "id", "key");
  }

  /** A key, without the key. */
  async get(keyId: string): Promise<Key> {
    return object<Key>(await this.#wire.send({ method: "GET", path: `${API}/admin/keys/${part(keyId)}` }), "id");
  }

  /** The keys, oldest first; pages are fetched as they are needed. */
  list(options: { readonly tenant?: string; readonly pageSize?: number } = {}): AsyncGenerator<Key, void, undefined> {
    return pages(this.#wire, `${API}/admin/keys`, { tenant: options.tenant, limit: options.pageSize });
  }

  /** Replace a key. */
  async rotateKey(keyId: string, graceSeconds = 0): Promise<RotatedKey> {
    const path = `${API}/admin/keys/${part(keyId)}/rotate`;
    const body = { grace_seconds: graceSeconds };
    return object<RotatedKey>(await this.#wire.send({ method: "POST", path, body }), "id", "key");
  }

  /** End a key. */
  async revokeKey(keyId: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/admin/keys/${part(keyId)}` });
  }
}

/** URLs that are told of events. */
export class Webhooks {
  readonly #wire: Wire;

  /** @internal */
  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Be told of events at `url`. The `secret` of the answer is shown this once; `verifyWebhook` takes it. */
  async register(
    url: string,
    options: { readonly events?: readonly string[]; readonly secret_token?: string; readonly retry_count?: number } = {},
  ): Promise<RegisteredWebhook> {
    const body = given({ url, ...options });
    const answer = await this.#wire.send({ method: "POST", path: `${API}/webhooks/register`, body });
    return object<RegisteredWebhook>(answer, "id", "secret");
  }

  /** The caller's webhooks, oldest first; pages are fetched as they are needed. */
  list(options: { readonly pageSize?: number } = {}): AsyncGenerator<Webhook, void, undefined> {
    return pages(this.#wire, `${API}/webhooks/list`, { limit: options.pageSize });
  }

  /** Send a test message to a webhook, or to a URL that is not registered, and see what comes back. */
  async test(target: { readonly id: string } | { readonly url: string }): Promise<WebhookTest> {
    const answer = await this.#wire.send({ method: "POST", path: `${API}/webhooks/test`, body: target });
    return object<WebhookTest>(answer, "delivered", "attempt");
  }

  /** Remove a webhook. */
  async delete(webhookId: string): Promise<void> {
    await this.#wire.send({ method: "DELETE", path: `${API}/webhooks/${part(webhookId)}` });
  }

  /** Replace the secret; for `graceSeconds` (a day) messages carry a signature of each. */
  async rotateSecret(webhookId: string, graceSeconds?: number): Promise<NewSecret> {
    const path = `${API}/webhooks/${part(webhookId)}/rotate-secret`;
    const body = given({ grace_seconds: graceSeconds });
    return object<NewSecret>(await this.#wire.send({ method: "POST", path, body }), "secret");
  }

  /** What was sent, newest first, with every attempt; pages are fetched as they are needed. */
  deliveries(webhookId: string, options: { readonly pageSize?: number } = {}): AsyncGenerator<Delivery, void, undefined> {
    return pages(this.#wire, `${API}/webhooks/${part(webhookId)}/deliveries`, { limit: options.pageSize });
  }

  /** Send a delivery again that has ended. */
  async replay(deliveryId: string): Promise<Replayed> {
    const path = `${API}/webhooks/deliveries/${part(deliveryId)}/replay`;
    return object<Replayed>(await this.#wire.send({ method: "POST", path }), "id", "state");
  }
}
