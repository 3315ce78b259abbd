// Against a real gateway.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { inspect } from "node:util";
import { Forbidden, Invalid, NotFound, Portico, RateLimited, Unauthorized, type Verdict, verifyWebhook } from "../src/index.js";
import { ATTACK, gateway, serving, until } from "./kit.js";

const { url, admin: adminKey } = gateway();
const admin = new Portico({ url, apiKey: adminKey });
let client: Portico;

before(async () => {
  const made = await admin.keys.create("node", { permissions: ["detect:use"], rate_limit_per_minute: 0 });
  client = new Portico({ url, apiKey: made.key });
});

test("a verdict has all that the gateway says", async () => {
  const found: Verdict = await client.detect(ATTACK, { include_reasoning: true, metadata: { a: [1, "ü"] } });
  assert.equal(found.is_malicious, true);
  assert.deepEqual(found.threat_types, ["system_prompt_leak", "injection"]);
  assert.match(found.reason, /ignore-previous-instructions/);
  assert.deepEqual(found.metadata, { a: [1, "ü"] });
  assert.equal((await client.detect("What time is it?", { confidence_threshold: 0, fresh: true })).is_malicious, true);
  assert.equal((await client.detect("What time is it?")).is_malicious, false);
});

test("a refusal is an error of its kind with code, place and request", async () => {
  await assert.rejects(client.detect("ab\0c"), (error: unknown) => {
    assert.ok(error instanceof Invalid);
    assert.deepEqual([error.name, error.status, error.code], ["Invalid", 422, "invalid_request"]);
    assert.equal(error.errors[0]?.path, "body.text");
    assert.match(error.errors[0]?.message ?? "", /NUL at position 2/);
    assert.ok(error.requestId && error.hint);
    return true;
  });
  await assert.rejects(client.detect("half \ud83d of it"), /invalid_request/);
  await assert.rejects(new Portico({ url, apiKey: "pk_nobody" }).detect("a"), Unauthorized);
  const other = await admin.keys.create("other", { permissions: ["keys:read"] });
  await assert.rejects(new Portico({ url, apiKey: other.key }).detect("a"), Forbidden);
  await assert.rejects(client.webhooks.delete("01890000-0000-7000-8000-000000000000"), NotFound);
  await assert.rejects(client.webhooks.delete("a/b?x=1#"), NotFound);
  await assert.rejects(client.webhooks.delete(".."), TypeError);
});

test("keys are issued, listed, rotated and revoked", async () => {
  const made = await admin.keys.create("mine", { rate_limit_per_minute: 7, expires_in: 3600 });
  assert.equal((await admin.keys.get(made.id)).rate_limit_per_minute, 7);
  const mine = new Portico({ url, apiKey: made.key });
  assert.equal((await mine.keys.profile()).name, "mine");
  const successor = await mine.keys.rotate();
  assert.equal((await mine.keys.profile()).id, successor.id);
  await mine.keys.revoke();
  await until(async () => {
    try {
      await mine.keys.profile();
      return false;
    } catch (error) {
      return error instanceof Unauthorized;
    }
  });
  const replaced = await admin.keys.create("replaced");
  assert.ok((await admin.keys.rotateKey(replaced.id, 60)).old_key_expires_at);
  await admin.keys.revokeKey(replaced.id);
  assert.equal((await admin.keys.get(replaced.id)).is_active, false);
});

test("a list goes through all pages", async () => {
  const made: string[] = [];
  for (let number = 0; number < 5; number += 1) made.push((await admin.keys.create(`listed ${number}`)).id);
  const found: string[] = [];
  for await (const key of admin.keys.list({ pageSize: 2 })) found.push(key.id);
  assert.equal(new Set(found).size, found.length);
  assert.ok(made.every((id) => found.includes(id)));
});

test("a webhook lives from registering to replay", async () => {
  await serving(
    (_, __, response) => response.end("ok"),
    async (receiver, got) => {
      const hook = await client.webhooks.register(receiver, { events: ["detection_complete"], retry_count: 1 });
      const tested = await client.webhooks.test({ id: hook.id });
      assert.equal(tested.delivered, true);
      assert.equal(tested.attempt.http_status, 200);
      const first = got[0];
      assert.ok(first);
      const message = await verifyWebhook(first.body, first.headers, hook.secret);
      assert.equal(message.type, "test");
      const listed: string[] = [];
      for await (const each of client.webhooks.list()) listed.push(each.id);
      assert.deepEqual(listed, [hook.id]);
      const { secret } = await client.webhooks.rotateSecret(hook.id, 60);
      await client.webhooks.test({ id: hook.id });
      const second = got[1];
      assert.ok(second);
      for (const each of [secret, hook.secret]) await verifyWebhook(second.body, second.headers, each);
      const sent: string[] = [];
      for await (const each of client.webhooks.deliveries(hook.id, { pageSize: 1 })) sent.push(each.id);
      assert.equal(sent.length, 2);
      assert.equal((await client.webhooks.replay(sent[0] ?? "")).state, "pending");
      await until(() => got.length === 3);
      assert.equal((await client.webhooks.test({ url: receiver })).delivery_id, null);
      await client.webhooks.delete(hook.id);
    },
  );
});

test("a gateway that says when is asked again then, and not waited for when that is too long", async () => {
  const steady = { permissions: ["detect:use"], rate: "1/second", burst: 1 };
  const patient = new Portico({ url, apiKey: (await admin.keys.create("steady", steady)).key, maxRetries: 4 });
  const began = Date.now();
  for (let count = 0; count < 3; count += 1) await patient.detect("a");
  assert.ok(Date.now() - began >= 1000);
  const { key } = await admin.keys.create("few", { permissions: ["detect:use"], rate_limit_per_minute: 1 });
  const hasty = new Portico({ url, apiKey: key, maxRetryAfter: 1 });
  await hasty.detect("a");
  await assert.rejects(hasty.detect("a"), (error: unknown) => error instanceof RateLimited && (error.retryAfter ?? 0) > 1);
});

test("a key is not shown", () => {
  assert.doesNotMatch(inspect(admin, { depth: 10, showHidden: true }) + JSON.stringify(admin), /pk_/);
});
