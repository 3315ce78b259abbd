import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import { WebhookError, verifyWebhook } from "../src/index.js";

const BODY = Buffer.from(JSON.stringify({ type: "test", timestamp: "2026-01-31T12:00:00.000Z", data: { ü: 1 } }));
const KEY = randomBytes(32);
const SECRET = `whsec_${KEY.toString("base64")}`;

function fields(age = 0, key: Buffer = KEY, body: Buffer = BODY): Record<string, string> {
  const stamp = String(Math.floor(Date.now() / 1000) - age);
  const sign = (by: Buffer) => `v1,${createHmac("sha256", by).update(`m.${stamp}.`).update(body).digest("base64")}`;
  return { "Webhook-Id": "m", "webhook-timestamp": stamp, "WEBHOOK-SIGNATURE": `${sign(randomBytes(32))} ${sign(key)}` };
}

test("a message of the sender is believed, however its fields come", async () => {
  const found = await verifyWebhook(BODY, fields(), SECRET);
  assert.deepEqual([found.id, found.type, found.data], ["m", "test", { ü: 1 }]);
  await verifyWebhook(BODY.toString(), new Headers(fields()), ["a".repeat(24), SECRET]);
  await verifyWebhook(BODY, fields(900), SECRET, { tolerance: 1000 });
});

test("everything else is not", async () => {
  const cases: [Record<string, string>, Buffer, RegExp][] = [
    [fields(302), BODY, /off/],
    [fields(-302), BODY, /off/],
    [fields(0, randomBytes(32)), BODY, /no signature/],
    [{ ...fields(), "Webhook-Id": "n" }, BODY, /no signature/],
    [fields(), Buffer.concat([BODY, Buffer.from(" ")]), /no signature/],
    [{ ...fields(), "WEBHOOK-SIGNATURE": "v1, v1,!" }, BODY, /no signature/],
    [{ ...fields(), "webhook-timestamp": "1e9" }, BODY, /no number/],
    [{}, BODY, /missing/],
    [fields(0, KEY, Buffer.from("[]")), Buffer.from("[]"), /form/],
  ];
  for (const [headers, body, told] of cases) {
    await assert.rejects(verifyWebhook(body, headers, SECRET), (error: unknown) => {
      assert.ok(error instanceof WebhookError);
      assert.match(error.message, told);
      return true;
    });
  }
  for (const wrong of ["whsec_!", "short", `whsec_${"A".repeat(200)}`, []]) {
    await assert.rejects(verifyWebhook(BODY, fields(), wrong), TypeError);
  }
});
