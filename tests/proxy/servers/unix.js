// A server on a Unix socket as Node has it: it answers with the body it got, and the Host it was sent.
const http = require('node:http')

const server = http.createServer((request, response) => {
  response.setHeader('Seen-Host', request.headers.host)
  request.pipe(response)
})
server.listen(process.argv[2], () => console.log('listening'))
