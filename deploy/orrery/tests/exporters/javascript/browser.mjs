// Sends the fixed set of telemetry from a page in Chromium, whose origin is not the server's: browser.mjs http ENDPOINT.
// The page is bundled by esbuild and served from a port of its own, so that every request needs CORS.

import { createServer } from "node:http";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [, endpoint] = process.argv.slice(2);
const bundle = await build({
  entryPoints: [new URL("page.mjs", import.meta.url).pathname],
  bundle: true,
  format: "iife",
  write: false,
  define: { ENDPOINT: JSON.stringify(endpoint) },
});
const script = bundle.outputFiles[0].text;
const server = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? script : "<!doctype html><title>exporter</title><script src=/page.js></script>");
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.log(message.text()));
  page.on("pageerror", (error) => console.log(error.stack));
  await page.goto(`http://localhost:${server.address().port}/`);
  await page.waitForFunction(() => document.title !== "exporter", undefined, { timeout: 30_000 });
  const title = await page.title();
  if (title !== "sent") throw new Error(title);
} finally {
  await browser.close();
  server.close();
}
