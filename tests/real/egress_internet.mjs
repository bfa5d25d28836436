// Stands for every host of the internet: HTTP/1.1, HTTP/2, WebSocket and files, on the ports it is given. Each request
// is one line on standard output; descriptor 3 is told when all of them listen. Arguments: the PEM with key and certificate, a folder of files, then addresses.
import fs from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import path from 'node:path'
import { createHash } from 'node:crypto'

const [pem, folder, ...addresses] = process.argv.slice(2)
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

function answer(req, res) {
  const host = req.headers[':authority'] ?? req.headers.host
  const url = new URL(req.url, `http://${host}`)
  console.log(JSON.stringify({ at: req.socket.localAddress, host, version: req.httpVersion, path: url.pathname }))
  if (url.pathname === '/redirect') {
    res.writeHead(302, { location: url.searchParams.get('to') })
    return res.end()
  }
  if (url.pathname === '/big') return res.end(Buffer.alloc(3_000_000, 'x'))
  if (url.pathname.startsWith('/files/')) {
    const file = path.join(folder, path.normalize(url.pathname.slice(7)))
    if (fs.existsSync(file) && fs.statSync(file).isFile()) return res.end(fs.readFileSync(file))
    res.writeHead(404)
    return res.end()
  }
  let size = 0
  req.on('data', (data) => (size += data.length))
  req.on('end', () => res.end(`answer of ${host} by HTTP/${req.httpVersion}, ${size} bytes came\n`))
}

// RFC 6455: every short text message is said back.
function upgrade(req, socket) {
  console.log(JSON.stringify({ at: socket.localAddress, host: req.headers.host, version: 'websocket', path: req.url }))
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + GUID).digest('base64')
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n')
  socket.write(`Sec-WebSocket-Accept: ${accept}\r\n\r\n`)
  socket.on('error', () => socket.destroy())
  socket.on('data', (data) => {
    if ((data[0] & 15) === 8) return socket.end(Buffer.from([0x88, 0]))
    const mask = data.subarray(2, 6)
    const text = data.subarray(6, 6 + (data[1] & 127)).map((byte, index) => byte ^ mask[index % 4])
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]))
  })
}

const secret = fs.readFileSync(pem)
let waiting = addresses.length * 2
const ready = () => --waiting === 0 && fs.writeSync(3, 'x')
for (const address of addresses) {
  const secure = http2.createSecureServer({ key: secret, cert: secret, allowHTTP1: true }, answer)
  const plain = http.createServer(answer)
  for (const [server, port] of [[secure, 443], [plain, 80]]) server.on('upgrade', upgrade).listen(port, address, ready)
}
