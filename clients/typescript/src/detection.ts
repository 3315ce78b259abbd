import { UnexpectedAnswer } from "./errors.js";
import type { Verdict } from "./models.js";
import { object } from "./wire.js";

/** How a text is judged. */
export interface Judging {
  /** Malicious from here on: 0.6 unless said. */
  readonly confidence_threshold?: number;
  /** Fill `reason`. */
  readonly include_reasoning?: boolean;
}

/** What goes with a text. */
export interface DetectOptions extends Judging {
  /** Comes back as it is. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Is told the verdict as well, by a signed webhook. */
  readonly webhook_url?: string;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

/** A text of a batch; `id` is the caller's own word for it, and comes once in a batch. */
export interface BatchItem extends Judging {
  readonly id: string;
  readonly text: string;
}

/** A text of a batch that was not judged. Go by `code`. */
export interface BatchError {
  readonly id: string | null;
  readonly code: string;
  readonly detail: string;
}

/** A verdict of a batch; a batch's texts have neither metadata nor a request of their own. */
export interface BatchVerdict extends Omit<Verdict, "metadata" | "request_id"> {
  readonly id: string;
}

/** What came of a batch, each in the order in which the texts were sent. */
export interface Batch {
  readonly results: readonly BatchVerdict[];
  readonly errors: readonly BatchError[];
  readonly counts: Readonly<Record<string, number>>;
}

/** A job that was just taken. `job_id` asks for it. */
export interface Accepted {
  readonly job_id: string;
  readonly status_url: string;
}

/** A text that is judged in the background. */
export interface Job {
  readonly status: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  readonly result?: Verdict | null;
  readonly error?: { readonly code: string; readonly detail: string } | null;
}

/** The body of a request that judges one text. */
export function question(text: string, options: DetectOptions): Record<string, unknown> {
  const { metadata, webhook_url } = options;
  return given({ text, ...config(options), metadata, webhook_url });
}

/** The body of a request that judges many. */
export function questions(items: readonly BatchItem[], webhook_url: string | undefined): Record<string, unknown> {
  return given({ requests: items.map((item) => ({ id: item.id, text: item.text, ...config(item) })), webhook_url });
}

/** Without what is undefined. */
export function given(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** A verdict, or UnexpectedAnswer. */
export function verdict(value: unknown): Verdict {
  const found = object<Verdict>(value, "is_malicious", "confidence", "threat_types", "reason", "engine", "degraded");
  if (typeof found.is_malicious !== "boolean" || typeof found.confidence !== "number") {
    throw new UnexpectedAnswer("the answer is no verdict");
  }
  return found;
}

function config({ confidence_threshold, include_reasoning }: Judging): Record<string, unknown> {
  const values = given({ confidence_threshold, include_reasoning });
  return Object.keys(values).length > 0 ? { config: values } : {};
}
