// Nested TLS by one tls.TLSSocket straight on another, as proxy agents do it. One line of KEY=VALUE pairs on standard
// input for each conversation, one such line on standard output.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');
const tls = require('node:tls');
const { once } = require('node:events');

const LIMIT = 60_000;
const PERIOD = 251;
const PATTERN = Buffer.from(Uint8Array.from({ length: PERIOD * 1024 }, (_, i) => i % PERIOD));

const contexts = new Map();

function context(job, name) {
  const file = (key, kind) => fs.readFileSync(path.join(job.dir, job[name + key] + kind));
  const key = [job.dir, job[name + '_tls'], job[name + '_own'], job[name + '_trust']].join();
  if (!contexts.has(key)) {
    const version = 'TLSv' + job[name + '_tls'];
    contexts.set(key, tls.createSecureContext({
      cert: file('_own', '.pem'),
      key: file('_own', '.key'),
      ca: file('_trust', '.pem'),
      minVersion: version,
      maxVersion: version,
    }));
  }
  return contexts.get(key);
}

class Peer {
  constructor(job, tcp) {
    this.job = job;
    this.tcp = tcp;
    this.received = 0;
    this.wrong = -1;
    this.ended = false;
    this.said = {};
  }

  fail(name, error) {
    this.failure ??= { name, reason: String(error.message) };
    // A layer that was established stays open after an alert. Node crashes if the transport goes while it tells of one.
    setImmediate(() => this.tcp.destroy());
  }

  // One layer over `below`, established.
  async layer(name, below) {
    const { job } = this;
    const options = {
      secureContext: context(job, name),
      ALPNProtocols: [job[name + '_alpn']],
      rejectUnauthorized: true,
      allowHalfOpen: true,
    };
    const client = job[name] === 'client';
    const made = client
      // The certificates have no names.
      ? tls.connect({ ...options, socket: below, servername: job[name + '_name'], checkServerIdentity: () => undefined })
      : new tls.TLSSocket(below, { ...options, isServer: true, requestCert: true });
    made.on('error', (error) => this.fail(name, error));
    const closed = once(below, 'close').then(() => { throw new Error('the layer below closed'); });
    await Promise.race([once(made, client ? 'secureConnect' : 'secure'), closed]);
    // A client's is verified before it says that it is secure.
    const refused = client ? null : made.ssl.verifyError();
    if (refused) {
      this.fail(name, refused);
      throw refused;
    }
    Object.assign(this.said, {
      [name + '_version']: made.getProtocol().slice('TLSv'.length),
      [name + '_alpn']: made.alpnProtocol,
      [name + '_sni']: (!client && made.servername) || '-',
    });
    return made;
  }

  take(data) {
    const at = this.received % PERIOD;
    for (let i = 0; this.wrong < 0 && i < data.length; i++) {
      if (data[i] !== (at + i) % PERIOD) this.wrong = this.received + i;
    }
    this.received += data.length;
  }

  async speak(inner) {
    const [send, piece] = [Number(this.job.send), Number(this.job.piece)];
    for (let sent = 0; sent < send;) {
      const most = Math.min(piece, send - sent);
      const at = sent % PERIOD;
      sent += most;
      if (!inner.write(PATTERN.subarray(at, at + most))) await once(inner, 'drain');
    }
    // What was written is with the transport then.
    await new Promise((resolve) => { inner.write('', resolve); });
  }

  async converse() {
    const { job, tcp } = this;
    const closed = once(tcp, 'close');
    tcp.on('error', (error) => this.fail('transport', error));
    try {
      const outer = await this.layer('outer', tcp);
      const inner = await this.layer('inner', outer);
      inner.on('data', (data) => this.take(data));
      const ended = once(inner, 'end').then(() => { this.ended = true; });
      if (job.waits === '1') await Promise.race([ended, closed]);
      await Promise.race([this.speak(inner), closed]);
      switch (job.cut) {
        case 'reset': tcp.resetAndDestroy(); break;
        case 'transport': tcp.end(); break;
        case 'outer': outer.end(); break;
        default: inner.end();
      }
      await Promise.race([ended, closed]);
      if (job.cut === 'transport' || job.cut === 'outer') tcp.destroy();
    } catch (error) {
      this.fail('none', error);
    }
    await closed;
  }

  report() {
    const end = this.failure ? 'error' : this.ended ? 'clean' : 'none';
    const all = { end, received: this.received, wrong: this.wrong, outer_end: 'unclean', ...this.said };
    if (this.failure) Object.assign(all, { layer: this.failure.name, reason: this.failure.reason.replaceAll(/\s/g, '_') });
    return Object.entries(all).map(([key, value]) => `${key}=${value}`).join(' ');
  }
}

async function main() {
  process.stdout.write(`Node ${process.versions.node} tls\n`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = Object.fromEntries(line.trim().split(' ').map((pair) => pair.split('=', 2)));
    const tcp = net.connect({ port: Number(job.port), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const hang = setTimeout(() => { throw new Error('a hang'); }, LIMIT);
    const peer = new Peer(job, tcp);
    await peer.converse();
    clearTimeout(hang);
    process.stdout.write(peer.report() + '\n');
  }
}

main();
