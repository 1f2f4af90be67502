// An https server as Node has it that wants a certificate of its clients: it answers with the name in it.
const https = require('node:https')
const { readFileSync } = require('node:fs')

const [cert, key, ca] = process.argv.slice(2).map((name) => readFileSync(name))
const options = { cert, key, ca, requestCert: true, rejectUnauthorized: true }
const server = https.createServer(options, (request, response) => {
  response.end(request.socket.getPeerCertificate().subject.CN)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
