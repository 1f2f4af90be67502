// Node's keep-alive agent with one connection: a POST whose answer comes early, then a GET, again and again.
// Prints what became of them: {"statuses": {"429": 30, "200": 30}, "errors": {"ECONNRESET": 1}}
"use strict";
const http = require("http");

const [port, rounds, size, framing, pieces] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const statuses = {};
const errors = {};

function ask(method, path, body) {
  return new Promise((resolve) => {
    const headers = body && framing === "length" ? { "Content-Length": body.length } : {};
    const request = http.request({ host: "127.0.0.1", port, method, path, agent, headers }, (response) => {
      response.resume();
      response.on("end", () => {
        statuses[response.statusCode] = (statuses[response.statusCode] || 0) + 1;
        resolve();
      });
      response.on("error", failed);
    });
    let done = false;
    function failed(error) {
      // What fails behind the head of an answer fails no request: the answer is there.
      if (!done && !request.res) errors[error.code] = (errors[error.code] || 0) + 1;
      done = true;
      resolve();
    }
    request.on("error", failed);
    if (!body) return request.end();
    const step = Math.ceil(body.length / Number(pieces));
    let sent = 0;
    (function go() {
      request.write(body.subarray(sent, sent + step));
      sent += step;
      if (sent < body.length) setImmediate(go);
      else request.end();
    })();
  });
}

(async () => {
  const body = Buffer.alloc(Number(size), "x");
  for (let n = 0; n < Number(rounds); n++) {
    await ask("POST", "/early", body);
    await ask("GET", "/", null);
  }
  agent.destroy();
  console.log(JSON.stringify({ statuses, errors }));
})();
