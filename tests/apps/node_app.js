// An app for Node, without packages; VERSION beside it names the version. No signal handling, as is usual.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const version = fs.readFileSync(path.join(__dirname, 'VERSION'), 'utf8').trim();

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('X-Version', version);
  response.end(`hello from version ${version}, process ${process.pid}\n`);
});

server.listen(Number(process.env.PORT), '127.0.0.1');
