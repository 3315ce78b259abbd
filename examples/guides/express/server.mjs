// A chat endpoint behind a middleware that asks Portico before the handler asks the model.
import { Invalid, Portico, PorticoError } from "@portico/client";
import express from "express";

const portico = new Portico({ url: process.env.PORTICO_URL, apiKey: process.env.PORTICO_API_KEY });

/** Refuses a request whose `message` is an attack. */
async function guard(request, response, next) {
  const message = request.body?.message;
  if (typeof message !== "string") return response.status(400).json({ code: "no_message" });
  try {
    const verdict = await portico.detect(message);
    if (!verdict.is_malicious) return next();
    return response.status(422).json({ code: "prompt_injection", threat_types: verdict.threat_types });
  } catch (error) {
    // No text, or longer than 10,000 characters.
    if (error instanceof Invalid) return response.status(422).json({ code: error.code });
    // Closed: what nobody has checked does not reach the model. `return next()` would leave it open.
    if (error instanceof PorticoError) return response.status(503).json({ code: "guard_unavailable" });
    return next(error);
  }
}

const app = express();
app.use(express.json());
app.post("/chat", guard, async (request, response) => {
  const answer = await fetch(process.env.MODEL_URL, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ message: request.body.message }),
  });
  response.json({ answer: (await answer.json()).answer });
});

const server = app.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});
