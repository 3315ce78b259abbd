// Against servers that answer as a gateway seldom does.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import type { ServerResponse } from "node:http";
import {
  ApiError,
  ConnectionFailed,
  JobFailed,
  JobUnfinished,
  Portico,
  PorticoError,
  TimedOut,
  Unavailable,
  UnexpectedAnswer,
} from "../src/index.js";
import { VERDICT, serving } from "./kit.js";

const PAGE = { items: [], next_cursor: null };

function say(response: ServerResponse, status: number, body: unknown, fields: Record<string, string> = {}): void {
  response.writeHead(status, { "Content-Type": "application/json", ...fields });
  response.end(JSON.stringify(body));
}

for (const status of [429, 503]) {
  test(`${status} with Retry-After is waited for`, async () => {
    await serving(
      (before, _, response) =>
        before === 0 ? say(response, status, { code: "x" }, { "Retry-After": "1" }) : say(response, 200, VERDICT),
      async (url, got) => {
        assert.equal((await new Portico({ url }).detect("a")).is_malicious, true);
        assert.ok((got[1]?.at ?? 0) - (got[0]?.at ?? 0) >= 1000);
      },
    );
  });
}

const bad: Record<string, (response: ServerResponse) => void> = {
  "502": (response) => say(response, 502, {}),
  "503": (response) => say(response, 503, {}),
  "504": (response) => say(response, 504, {}),
  "a broken connection": (response) => response.destroy(),
  "a broken answer": (response) => {
    response.writeHead(200, { "Content-Length": "99" });
    response.write("{", () => response.destroy());
  },
};
for (const [name, fail] of Object.entries(bad)) {
  test(`after ${name} only what may be sent twice is sent again`, async () => {
    const once = (good: unknown) => (before: number, _: unknown, response: ServerResponse) =>
      before === 0 ? fail(response) : say(response, 200, good);
    await serving(once(PAGE), async (url, got) => {
      for await (const _ of new Portico({ url }).webhooks.list()) assert.fail();
      assert.equal(got.length, 2);
    });
    await serving(once({ job_id: "j", status_url: "/x" }), async (url, got) => {
      assert.equal((await new Portico({ url }).detectAsync("a")).job_id, "j");
      assert.equal(new Set(got.map((each) => each.headers["idempotency-key"])).size, 1);
      assert.equal(got.length, 2);
    });
    await serving(once(VERDICT), async (url, got) => {
      await assert.rejects(new Portico({ url }).detect("a"), PorticoError);
      assert.equal(got.length, 1);
    });
  });
}

test("it gives up after as many tries as it may, and what is wrong is not sent again", async () => {
  await serving(
    (_, __, response) => say(response, 503, { code: "away" }),
    async (url, got) => {
      await assert.rejects(new Portico({ url, maxRetries: 1 }).keys.profile(), Unavailable);
      assert.equal(got.length, 2);
    },
  );
  for (const status of [400, 401, 403, 404, 409, 422, 500]) {
    await serving(
      (_, __, response) => say(response, status, { code: "x" }),
      async (url, got) => {
        await assert.rejects(new Portico({ url }).keys.profile(), ApiError);
        assert.equal(got.length, 1);
      },
    );
  }
});

test("a server that is not there yet is tried again, also with what may be sent but once", async () => {
  const port = await new Promise<number>((found) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => found(typeof address === "object" && address ? address.port : 0));
    });
  });
  let tries = 0;
  const counting: typeof fetch = (...args) => {
    tries += 1;
    return fetch(...args);
  };
  const client = new Portico({ url: `http://127.0.0.1:${port}`, maxRetries: 1, fetch: counting });
  await assert.rejects(client.detect("a"), ConnectionFailed);
  assert.equal(tries, 2);
});

test("silence and drops of an answer end in time", async () => {
  const drip = (response: ServerResponse): void => {
    response.writeHead(200, { "Content-Length": "999" });
    const timer = setInterval(() => response.write(" "), 100);
    response.on("close", () => clearInterval(timer));
  };
  for (const answer of [() => undefined, drip]) {
    await serving(
      (_, __, response) => answer(response),
      async (url) => {
        const began = Date.now();
        await assert.rejects(new Portico({ url, timeout: 500, maxRetries: 0 }).detect("a"), TimedOut);
        assert.ok(Date.now() - began < 5000);
      },
    );
  }
});

test("whoever asked may stop waiting", async () => {
  await serving(
    (_, __, response) => say(response, 429, {}, { "Retry-After": "20" }),
    async (url, got) => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(new Error("enough")), 300);
      await assert.rejects(new Portico({ url }).detect("a", { signal: stop.signal }), /enough/);
      assert.equal(got.length, 1);
    },
  );
});

test("an answer of no gateway is told as such", async () => {
  for (const body of ["<html>", "[]", "{}", "null", JSON.stringify({ ...VERDICT, confidence: "high" })]) {
    await serving(
      (_, __, response) => response.end(body),
      async (url) => void (await assert.rejects(new Portico({ url }).detect("a"), UnexpectedAnswer)),
    );
  }
  await serving(
    (_, __, response) => response.writeHead(500).end("<h1>oops</h1>"),
    async (url) => void (await assert.rejects(new Portico({ url }).detect("a"), /http_500: <h1>oops/)),
  );
  await serving(
    (_, __, response) => say(response, 200, { items: [], next_cursor: "c" }),
    async (url) => {
      await assert.rejects(async () => {
        for await (const _ of new Portico({ url }).keys.list()) assert.fail();
      }, /circle/);
    },
  );
});

test("a key goes to its gateway only", async () => {
  await serving(
    (_, __, response) => response.end(),
    async (elsewhere, leaked) => {
      await serving(
        (_, __, response) => response.writeHead(307, { Location: elsewhere }).end(),
        async (url, got) => {
          await assert.rejects(new Portico({ url, apiKey: "pk_mine" }).keys.profile(), PorticoError);
          assert.equal(got[0]?.headers["x-api-key"], "pk_mine");
          await assert.rejects(new Portico({ url, token: "t" }).keys.profile(), PorticoError);
          assert.equal(got[1]?.headers.authorization, "Bearer t");
        },
      );
      assert.equal(leaked.length, 0);
    },
  );
  for (const url of ["ftp://x", "//x", "http://user:secret@x", "http://x?key=1"]) {
    assert.throws(() => new Portico({ url }), TypeError);
  }
});

test("a job is waited for until it ends or the time is over", async () => {
  const states = ["queued", "running", "succeeded"];
  await serving(
    (before, _, response) => {
      const status = states[before];
      say(response, 200, { status, result: status === "succeeded" ? VERDICT : null });
    },
    async (url) => {
      assert.equal((await new Portico({ url }).waitForJob("j", { poll: 10 })).is_malicious, true);
    },
  );
  for (const [status, kind] of [["failed", JobFailed], ["cancelled", JobFailed], ["running", JobUnfinished]] as const) {
    await serving(
      (_, __, response) => say(response, 200, { status, result: null }),
      async (url) => void (await assert.rejects(new Portico({ url }).waitForJob("j", { poll: 10, timeout: 100 }), kind)),
    );
  }
});
