// open-push.mjs: a browser's keys, and what they open, by another implementation than ours (npm http_ece).
//
//   open-push.mjs                            prints {"private", "p256dh", "auth"}: a new subscription's keys
//   open-push.mjs PRIVATE AUTH < BODY        prints what is in a push's body (RFC 8188, RFC 8291), in base64
import { createECDH, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import ece from 'http_ece';

const CURVE = 'prime256v1';
const [, , secret, auth] = process.argv;
const keys = createECDH(CURVE);
if (!secret) {
  keys.generateKeys();
  process.stdout.write(JSON.stringify({
    private: keys.getPrivateKey('base64url'), p256dh: keys.getPublicKey('base64url'), auth: randomBytes(16).toString('base64url'),
  }));
} else {
  keys.setPrivateKey(secret, 'base64url');
  const plain = ece.decrypt(readFileSync(0), { version: 'aes128gcm', privateKey: keys, authSecret: auth });
  process.stdout.write(plain.toString('base64'));
}
