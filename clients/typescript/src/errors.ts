/** Base of all that this package throws on purpose. */
export class PorticoError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** No answer came: the name, the network, TLS, a connection that broke. */
export class ConnectionFailed extends PorticoError {}

/** It took longer than `timeout`. */
export class TimedOut extends ConnectionFailed {}

/** An answer that is not of the form a gateway gives. */
export class UnexpectedAnswer extends PorticoError {}

/** A wrong value: where, and what is wrong. */
export interface Wrong {
  readonly path: string;
  readonly message: string;
}

/** A refusal (RFC 9457). Go by `code`: it stays when the wording changes. */
export class ApiError extends PorticoError {
  readonly code: string;
  readonly detail: string;
  readonly hint: string;
  readonly requestId: string;
  readonly errors: readonly Wrong[];

  /** `retryAfter` is in seconds; undefined where nothing was said. */
  constructor(
    readonly status: number,
    problem: Readonly<Record<string, unknown>>,
    readonly retryAfter: number | undefined,
  ) {
    const text = (name: string): string => (typeof problem[name] === "string" ? problem[name] : "");
    const code = text("code") || `http_${status}`;
    super(text("detail") ? `${status} ${code}: ${text("detail")}` : `${status} ${code}`);
    this.code = code;
    this.detail = text("detail");
    this.hint = text("hint");
    this.requestId = text("request_id");
    this.errors = Array.isArray(problem["errors"]) ? (problem["errors"] as Wrong[]) : [];
  }
}

/** 400, 413, 415 or 422: the request is wrong. */
export class Invalid extends ApiError {}
/** 401: the credentials are missing or not valid. */
export class Unauthorized extends ApiError {}
/** 403: the caller may not do this. */
export class Forbidden extends ApiError {}
/** 404: there is no such thing, or it is another's. */
export class NotFound extends ApiError {}
/** 409: it does not fit what is there. */
export class Conflict extends ApiError {}
/** 429: too much; `retryAfter` says when to come back. */
export class RateLimited extends ApiError {}
/** 5xx: the gateway or what stands behind it. */
export class Unavailable extends ApiError {}

/** A background job that ended without a result: `failed` or `cancelled`. */
export class JobFailed extends PorticoError {
  constructor(
    readonly jobId: string,
    readonly status: string,
  ) {
    super(`job ${jobId}: ${status}`);
  }
}

/** A job that had not ended in the time that was given. It goes on. */
export class JobUnfinished extends PorticoError {
  constructor(
    readonly jobId: string,
    readonly status: string,
  ) {
    super(`job ${jobId} is still ${status}`);
  }
}

/** A message that is not from whom it says, or too old. */
export class WebhookError extends PorticoError {}

const BY_STATUS: Readonly<Record<number, typeof ApiError>> = {
  400: Invalid,
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  409: Conflict,
  413: Invalid,
  415: Invalid,
  422: Invalid,
  429: RateLimited,
};

/** The error for an answer of this status. */
export function refusal(
  status: number,
  problem: Readonly<Record<string, unknown>>,
  retryAfter: number | undefined,
): ApiError {
  const Kind = BY_STATUS[status] ?? (status >= 500 ? Unavailable : ApiError);
  return new Kind(status, problem, retryAfter);
}
