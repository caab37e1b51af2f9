// The same receiver in JavaScript: see receiver.py.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

function refused(body, headers) {
  try {
    webhook.verify(body, headers);
    return false;
  } catch {
    return true;
  }
}

function flip(text, at) {
  return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
}

function check(body, headers) {
  const event = webhook.verify(body, headers);
  for (let at = 0; at < body.length; at++) {
    if (!refused(flip(body, at), headers)) throw new Error(`byte ${at} of the body`);
  }
  const alone = headers["webhook-signature"]
    .split(" ")
    .map((signature) => ({ ...headers, "webhook-signature": signature }))
    .find((headers) => !refused(body, headers));
  if (!alone) throw new Error("no single signature verifies");
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    for (let at = 0; at < alone[name].length; at++) {
      if (!refused(body, { ...alone, [name]: flip(alone[name], at) })) throw new Error(`byte ${at} of ${name}`);
    }
  }
  return event.type;
}

const server = createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    try {
      console.log("verified", check(Buffer.concat(pieces).toString("utf8"), request.headers));
      response.writeHead(204).end();
    } catch (error) {
      console.log("FAILED", String(error));
      response.writeHead(400).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/hook`));
