// An https server as Node has it: 6 MB, and the connection is closed behind them.
//
//   /length   Content-Length
//   /close    framed by the end of the connection
//   /chunked  chunked
const https = require('node:https')
const { readFileSync } = require('node:fs')

const [cert, key] = process.argv.slice(2).map((name) => readFileSync(name))
const body = Buffer.from(Array.from({ length: 750000 }, (_, i) => String(i).padStart(8, '0')).join(''))

const server = https.createServer({ cert, key }, (request, response) => {
  response.setHeader('Connection', 'close')
  if (request.url === '/length') response.setHeader('Content-Length', body.length)
  if (request.url === '/close') response.removeHeader('Transfer-Encoding')
  response.write(body.subarray(0, 100000))
  response.end(body.subarray(100000))
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
