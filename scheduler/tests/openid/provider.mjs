// A real OpenID Connect provider (node-oidc-provider) with people of the tests' own, over HTTP or TLS.
//
//   node provider.mjs FOLDER SETTINGS.json
//
// FOLDER is the package's (dev/lab tool oidc-provider). It says `ready` once it listens. `/test/…` is for the tests alone:
// people change their groups, keys are renewed, and the next ID token says what a test wants it to say,
// signed with a key that is really the provider's.

import { webcrypto } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto; // Node.js 18
console.info = console.error; // what the provider notes, beside `ready`

const [folder, file] = process.argv.slice(2);
const { issuer, port, clients, people, tls, thin } = JSON.parse(fs.readFileSync(file, 'utf8'));
const { Provider } = await import(pathToFileURL(`${folder}/lib/index.js`));
const jose = await import(pathToFileURL(createRequire(`${folder}/package.json`).resolve('jose')));

const pair = async (kid) => {
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
  return { ...await jose.exportJWK(privateKey), kid, use: 'sig', alg: 'RS256' };
};
const known = new Map(Object.entries(people));
let fault;
let served;

// With other keys it is a provider anew, as it is when its own are rotated.
async function start(kid) {
  const key = await pair(kid);
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [key] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: Boolean(thin), // thin: ID tokens with `sub` alone, the rest from userinfo
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    findAccount: (ctx, id) => known.has(id) && { accountId: id, claims: async () => ({ sub: id, ...known.get(id) }) },
    // Everybody has agreed to everything already.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope(ctx.oidc.params.scope);
      for (const indicator of [].concat(ctx.oidc.params.resource ?? [])) grant.addResourceScope(indicator, 'api');
      await grant.save();
      return grant;
    },
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx, client) => (client.clientId === 'cli' ? 'urn:ringvault:api' : undefined),
        useGrantedResource: () => false,
        getResourceServerInfo: () => ({ scope: 'api', audience: 'urn:ringvault:api', accessTokenFormat: 'jwt', accessTokenTTL: 600 }),
      },
    },
    extraTokenClaims: async (ctx, token) => ({ groups: token.accountId ? known.get(token.accountId)?.groups : ['machines'] }),
  });
  provider.proxy = false;
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/token' && ctx.body?.id_token && fault) {
      ctx.body = { ...ctx.body, id_token: await forged(ctx.body.id_token, key) };
      fault = undefined;
    }
  });
  return { provider, key };
}

async function forged(token, key) {
  const { key: which = 'own', header = {}, claims = {}, raw } = fault;
  if (raw) return raw;
  const payload = { ...jose.decodeJwt(token), ...claims };
  for (const [name, value] of Object.entries(payload)) if (value === null) delete payload[name];
  const signer = which === 'own' ? key : await pair(key.kid);
  return new jose.SignJWT(payload)
    .setProtectedHeader({ ...jose.decodeProtectedHeader(token), ...header })
    .sign(await jose.importJWK(signer, 'RS256'));
}

async function answer(request, response) {
  if (!request.url.startsWith('/test/')) return served.provider.callback()(request, response);
  let body = '';
  for await (const chunk of request) body += chunk;
  const given = JSON.parse(body || '{}');
  let told = {};
  if (request.url === '/test/people') for (const [name, claims] of Object.entries(given)) known.set(name, claims);
  if (request.url === '/test/fault') fault = given;
  if (request.url === '/test/keys') served = await start(given.kid);
  if (request.url === '/test/sign') {
    const header = { alg: 'RS256', kid: served.key.kid, ...given.header };
    told = { token: await new jose.SignJWT(given.claims).setProtectedHeader(header).sign(await jose.importJWK(served.key, 'RS256')) };
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(told));
  return undefined;
}

served = await start('first');
const server = tls ? https.createServer({ cert: fs.readFileSync(tls.certificate), key: fs.readFileSync(tls.key) }, answer) : http.createServer(answer);
server.listen(port, '127.0.0.1', () => console.log('ready'));
