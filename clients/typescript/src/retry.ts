import { ApiError, ConnectionFailed } from "./errors.js";

const FIRST = 250; // milliseconds; doubled with every try
const LONGEST_STEP = 8_000;
const AGAIN = [429, 502, 503, 504];
const SAYS_WHEN = [429, 503];
// What fetch says when a connection did not come about: nothing of the request was sent.
const NEVER_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];

/** How patient a client is: `most` further tries; `longest` seconds that a gateway may ask to wait. */
export interface Patience {
  readonly most: number;
  readonly longest: number;
}

/**
 * Milliseconds to wait after the `tried`-th try (from 1) ended so; undefined: it is not sent again.
 *
 * Sent again is what surely reached nobody, what the gateway refused and said when to come back, and what may be sent
 * twice anyway. A gateway that asks for longer than `longest` is not waited for: its error tells.
 */
export function pause(patience: Patience, tried: number, error: unknown, repeatable: boolean): number | undefined {
  if (tried > patience.most) return undefined;
  const step = Math.min(LONGEST_STEP, FIRST * 2 ** (tried - 1));
  if (error instanceof ConnectionFailed) {
    return repeatable || neverSent(error.cause) ? Math.random() * step : undefined;
  }
  if (!(error instanceof ApiError) || !AGAIN.includes(error.status)) return undefined;
  if (error.retryAfter !== undefined && SAYS_WHEN.includes(error.status)) {
    // A little later than it says, and not all at once.
    return error.retryAfter <= patience.longest ? error.retryAfter * 1000 + Math.random() * step : undefined;
  }
  return repeatable ? Math.random() * step : undefined;
}

/** The seconds of a Retry-After field, a number or a date; undefined where it is neither. */
export function retryAfter(value: string | null): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const at = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, (at - Date.now()) / 1000);
}

function neverSent(cause: unknown): boolean {
  if (cause instanceof AggregateError) return cause.errors.every(neverSent);
  const code = (cause as { code?: unknown } | undefined)?.code;
  const inner = (cause as { cause?: unknown } | undefined)?.cause;
  return (typeof code === "string" && NEVER_SENT.includes(code)) || (inner !== undefined && neverSent(inner));
}
