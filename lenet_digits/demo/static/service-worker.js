// Keeps the page on this device, so that it opens without a network connection. BUILD, STORE and
// FILES are written before this when the site is made: a name that changes with the site's files,
// the name of the store that worker.js keeps Pyodide's files in, and the site's own files.

const NAME = `${self.registration.scope}#${BUILD}`;
const PATIENCE = 3000; // milliseconds for the network to deliver a page before the kept one opens

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));

async function keep() {
  const cache = await caches.open(NAME);
  await cache.addAll(FILES.map((name) => new Request(name, { cache: "no-cache" })));
  await self.skipWaiting();
}

// What earlier builds kept goes. Other sites at this address keep theirs.
async function takeOver() {
  const scope = self.registration.scope;
  for (const name of await caches.keys())
    if (name.startsWith(`${scope}#`) && ![BUILD, STORE].some((kept) => name === `${scope}#${kept}`))
      await caches.delete(name);
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(request.mode === "navigate" ? page(request) : file(request));
});

// The page comes from the network where there is one, so that a new build shows at once.
async function page(request) {
  const asked = fetch(request.url, { cache: "no-cache" }).catch(() => null);
  const slow = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const fresh = await Promise.race([asked, slow]);
  if (fresh?.ok) return fresh;
  const cache = await caches.open(NAME);
  return (await cache.match("./")) ?? (await asked) ?? Response.error();
}

// All other files have names that change with their content, except pictures.
async function file(request) {
  const cache = await caches.open(NAME);
  return (await cache.match(request)) ?? fetch(request);
}
