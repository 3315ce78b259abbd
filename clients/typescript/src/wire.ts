import { ConnectionFailed, PorticoError, TimedOut, UnexpectedAnswer, refusal } from "./errors.js";
import { pause, retryAfter, type Patience } from "./retry.js";

const MOST = 32 * 1024 * 1024; // bytes of an answer

/** How to reach a gateway. */
export interface Options {
  /** Where it listens; http://127.0.0.1:8771 unless said. */
  readonly url?: string | undefined;
  /** An API key; sent as X-API-Key. */
  readonly apiKey?: string | undefined;
  /** An access token, instead of a key. */
  readonly token?: string | undefined;
  /** Milliseconds for one try, to the end of its answer: 10,000 unless said. */
  readonly timeout?: number;
  /** How often a request is sent again where that is safe: 2 unless said. */
  readonly maxRetries?: number;
  /** Seconds that a gateway may ask to wait; one that asks for more is not waited for. 30 unless said. */
  readonly maxRetryAfter?: number;
  /** Instead of the global fetch. */
  readonly fetch?: typeof globalThis.fetch;
}

/** One request. What is GET or has an Idempotency-Key may be sent twice. */
export interface Call {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/** Sends calls to one gateway. The credential is kept out of what `console.log` shows. */
export class Wire {
  readonly url: string;
  #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #patience: Patience;
  readonly #fetch: typeof globalThis.fetch;

  constructor(options: Options) {
    this.url = checked(options.url ?? "http://127.0.0.1:8771");
    this.#headers = { Accept: "application/json" };
    if (options.apiKey) this.#headers["X-API-Key"] = options.apiKey;
    if (options.token) this.#headers["Authorization"] = `Bearer ${options.token}`;
    this.#timeout = options.timeout ?? 10_000;
    this.#patience = { most: options.maxRetries ?? 2, longest: options.maxRetryAfter ?? 30 };
    this.#fetch = options.fetch ?? globalThis.fetch;
  }

  /** Go on with another key. */
  use(apiKey: string): void {
    this.#headers = { ...this.#headers, "X-API-Key": apiKey };
  }

  /** The JSON of the answer, undefined for an empty one. Sends again where that is safe. */
  async send(call: Call): Promise<unknown> {
    const repeatable = call.method === "GET" || call.headers?.["Idempotency-Key"] !== undefined;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#once(call);
      } catch (error) {
        const wait = call.signal?.aborted ? undefined : pause(this.#patience, tried, error, repeatable);
        if (wait === undefined) throw error;
        await sleep(wait, call.signal);
      }
    }
  }

  async #once(call: Call): Promise<unknown> {
    const headers: Record<string, string> = { ...this.#headers, ...call.headers };
    const request: RequestInit = { method: call.method, headers, redirect: "manual" };
    if (call.body !== undefined) {
      headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(call.body);
    }
    const late = AbortSignal.timeout(this.#timeout);
    request.signal = call.signal ? AbortSignal.any([call.signal, late]) : late;
    let response: Response;
    let text: string;
    try {
      const send = this.#fetch;
      response = await send(this.url + call.path, request);
      text = await read(response);
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason;
      if (error instanceof PorticoError) throw error;
      if (late.aborted) throw new TimedOut(`no whole answer within ${this.#timeout} ms`, { cause: error });
      throw new ConnectionFailed(`no answer from ${this.url}: ${words(error)}`, { cause: error });
    }
    if (!response.ok) throw refused(response, text);
    return text === "" ? undefined : parsed(text, call);
  }
}

/** An object of an answer; UnexpectedAnswer unless it has `fields`. */
export function object<Model>(value: unknown, ...fields: (keyof Model & string)[]): Model {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UnexpectedAnswer("the answer is no object");
  }
  for (const field of fields) if (!(field in value)) throw new UnexpectedAnswer(`the answer has no ${field}`);
  return value as Model;
}

/** A segment of a path; the empty one and dots would lead to another path. */
export function part(text: string): string {
  if (text === "" || text === "." || text === "..") throw new TypeError(`${JSON.stringify(text)} is no id`);
  return encodeURIComponent(text);
}

/** The items of a list, page by page as they are needed. */
export async function* pages<Item>(
  wire: Wire,
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): AsyncGenerator<Item, void, undefined> {
  let after = "";
  for (;;) {
    const asked = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...query, after: after || undefined })) {
      if (value !== undefined) asked.set(name, String(value));
    }
    const page = object<{ items: Item[]; next_cursor: string | null }>(
      await wire.send({ method: "GET", path: asked.size ? `${path}?${asked}` : path }),
      "items",
      "next_cursor",
    );
    if (!Array.isArray(page.items)) throw new UnexpectedAnswer("the answer is no page of a list");
    yield* page.items;
    if (!page.next_cursor) return;
    if (page.next_cursor === after) throw new UnexpectedAnswer("the list goes round in a circle");
    after = page.next_cursor;
  }
}

/** Wait; throws what `signal` was aborted for. */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((done, failed) => {
    const timer = setTimeout(ended, milliseconds);
    function ended(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", ended);
      if (signal?.aborted) failed(signal.reason);
      else done();
    }
    if (signal?.aborted) ended();
    else signal?.addEventListener("abort", ended);
  });
}

async function read(response: Response): Promise<string> {
  if (response.body === null) return "";
  const pieces: Uint8Array[] = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST) {
      await reader.cancel();
      throw new UnexpectedAnswer(`the answer has more than ${MOST} bytes`);
    }
    pieces.push(value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return new TextDecoder().decode(whole);
}

function refused(response: Response, text: string): Error {
  let problem: unknown;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = undefined;
  }
  // Something in between that knows no problem+json; its first words are better than none.
  const told = { detail: text.slice(0, 200), request_id: response.headers.get("X-Request-Id") ?? "" };
  const known = typeof problem === "object" && problem !== null && !Array.isArray(problem);
  return refusal(response.status, known ? (problem as Json) : told, retryAfter(response.headers.get("Retry-After")));
}

function parsed(text: string, call: Call): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UnexpectedAnswer(`${call.method} ${call.path}: the answer is not JSON`);
  }
}

function words(error: unknown): string {
  const cause = (error as { cause?: unknown } | undefined)?.cause;
  return cause instanceof Error && cause.message ? cause.message : String((error as Error | undefined)?.message);
}

function checked(url: string): string {
  const parts = new URL(url);
  if (!["http:", "https:"].includes(parts.protocol) || parts.username || parts.password || parts.search || parts.hash) {
    throw new TypeError("the gateway's url must be http or https, without credentials or a query");
  }
  return url.replace(/\/+$/, "");
}
