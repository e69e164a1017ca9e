// An app for Node, without packages; VERSION beside it names the version. No signal handling, as is usual.
// `/events` streams events, `/ws` sends back what comes.

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const version = fs.readFileSync(path.join(__dirname, 'VERSION'), 'utf8').trim();

const server = http.createServer((request, response) => {
  response.setHeader('X-Version', version);
  if (request.url.startsWith('/events')) return events(response);
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`hello from version ${version}, process ${process.pid}\n`);
});

function events(response) {
  response.setHeader('Content-Type', 'text/event-stream');
  let index = 0;
  const ticks = setInterval(() => response.write(`id: ${index++}\ndata: ${version}\n\n`), 20);
  response.on('close', () => clearInterval(ticks));
}

server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\nX-Version: ${version}\r\n\r\n`,
  );
  let rest = head;
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    for (let message; (message = take()); ) answer(socket, message);
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());

  // The next frame, once it is whole; every one of these clients' is a message.
  function take() {
    if (rest.length < 2) return null;
    const short = rest[1] & 0x7f;
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
    const start = 2 + lengthBytes + 4;
    if (rest.length < start) return null;
    const length =
      short === 127 ? Number(rest.readBigUInt64BE(2)) : short === 126 ? rest.readUInt16BE(2) : short;
    if (rest.length < start + length) return null;
    const mask = rest.subarray(start - 4, start);
    const payload = Buffer.from(rest.subarray(start, start + length));
    for (let index = 0; index < length; index++) payload[index] ^= mask[index % 4];
    const opcode = rest[0] & 0x0f;
    rest = rest.subarray(start + length);
    return { opcode, payload };
  }
});

function answer(socket, { opcode, payload }) {
  if (opcode === 1) socket.write(frame(1, Buffer.concat([Buffer.from(`${version} `), payload])));
  if (opcode === 8) socket.end(frame(8, payload));
  if (opcode === 9) socket.write(frame(10, payload));
}

function frame(opcode, payload) {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (head.length === 2) head[1] = payload.length;
  if (head.length === 4) (head[1] = 126), head.writeUInt16BE(payload.length, 2);
  if (head.length === 10) (head[1] = 127), head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

server.listen(Number(process.env.PORT), '127.0.0.1');
