export * from "./client.js";
export * from "./detection.js";
export * from "./errors.js";
export * from "./models.js";
export { verifyWebhook, type WebhookMessage } from "./webhooks.js";
export type { Options } from "./wire.js";
