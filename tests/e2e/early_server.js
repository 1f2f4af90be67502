// Node's own server: POST /early is answered before the body is read, everything else at once.
"use strict";
const server = require("http").createServer((request, response) => {
  response.writeHead(request.url === "/early" ? 401 : 200, { "Content-Length": 2 });
  response.end("ok");
});
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
