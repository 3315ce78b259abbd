import { WebhookError } from "./errors.js";

const MOST = 16; // signatures that are looked at

/** A message whose signature is right. `id` is the same in every attempt: by it you know what you have seen. */
export interface WebhookMessage {
  readonly id: string;
  readonly type: string;
  /** RFC 3339. */
  readonly timestamp: string;
  readonly data: unknown;
}

/**
 * The message, when one of its signatures was made with `secret` (or one of several) and it is recent.
 *
 * `payload` is the body as it came, before any JSON reader: the bytes, or their text. `headers` are those of the
 * request. `tolerance` is how many seconds the timestamp may be off, either way. Throws WebhookError for a message that
 * can't be trusted, and TypeError for a secret that is none.
 */
export async function verifyWebhook(
  payload: Uint8Array | string,
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>,
  secret: string | readonly string[],
  { tolerance = 300 }: { tolerance?: number } = {},
): Promise<WebhookMessage> {
  const secrets = (typeof secret === "string" ? [secret] : secret).map(bytesOf);
  if (secrets.length === 0) throw new TypeError("there is no secret to verify with");
  const field = fields(headers);
  const [id, stamp, given] = [field("webhook-id"), field("webhook-timestamp"), field("webhook-signature")];
  if (!id || !stamp || !given) {
    throw new WebhookError("webhook-id, webhook-timestamp or webhook-signature is missing");
  }
  if (!/^\d{1,12}$/.test(stamp)) throw new WebhookError("webhook-timestamp is no number of seconds");
  if (Math.abs(Date.now() / 1000 - Number(stamp)) > tolerance) {
    throw new WebhookError(`webhook-timestamp is more than ${tolerance} seconds off`);
  }
  const body = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const head = new TextEncoder().encode(`${id}.${stamp}.`);
  const signed = new Uint8Array(head.length + body.length);
  signed.set(head);
  signed.set(body, head.length);
  let fits = false;
  for (const key of secrets) {
    for (const signature of given.split(" ").slice(0, MOST)) {
      // All of them, whichever fits; verify compares in constant time.
      fits = (await verified(key, signature, signed)) || fits;
    }
  }
  if (!fits) throw new WebhookError("no signature fits");
  return message(id, body);
}

async function verified(key: Uint8Array<ArrayBuffer>, signature: string, signed: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const mac = signature.startsWith("v1,") ? base64(signature.slice(3)) : undefined;
  if (mac === undefined) return false;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["verify"]);
  return crypto.subtle.verify("HMAC", imported, mac, signed);
}

function fields(
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>,
): (name: string) => string {
  if (headers instanceof Headers) return (name) => headers.get(name) ?? "";
  const found = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return (name) => {
    const value = found.get(name);
    return typeof value === "string" ? value : "";
  };
}

function message(id: string, body: Uint8Array): WebhookMessage {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    value = undefined;
  }
  const { type, timestamp, data } = (value ?? {}) as Record<string, unknown>;
  if (typeof type !== "string" || typeof timestamp !== "string" || data === undefined) {
    throw new WebhookError("the body is not a message of this form");
  }
  return { id, type, timestamp, data };
}

function bytesOf(secret: string): Uint8Array<ArrayBuffer> {
  const prefixed = secret.startsWith("whsec_");
  const key = prefixed ? base64(secret.slice(6)) : new TextEncoder().encode(secret);
  if (key === undefined) throw new TypeError("a secret must have base64 after whsec_");
  if (key.length < 24 || key.length > 64) throw new TypeError("a secret must have 24 to 64 bytes");
  return key;
}

function base64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
