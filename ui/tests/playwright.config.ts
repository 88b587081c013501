// The dashboard's tests: in both themes, after one project that fills the server. The server is started by whoever runs
// them (`cargo xtask test`); its addresses come in ORRERY_URL and ORRERY_OTLP_HTTP_URL.
import { defineConfig } from '@playwright/test';

const chromium = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
};
const use = {
  baseURL: process.env.ORRERY_URL ?? 'http://127.0.0.1:8080',
  viewport: { width: 1440, height: 860 },
  launchOptions: chromium,
  trace: 'off' as const,
};

export default defineConfig({
  testDir: '.',
  outputDir: process.env.ORRERY_UI_RESULTS ?? './results',
  // Wide, for machines that build something else meanwhile; what passes takes a second or two.
  timeout: 120_000,
  expect: { timeout: 40_000 },
  workers: 2,
  fullyParallel: true,
  forbidOnly: true,
  projects: [
    { name: 'fill', testMatch: 'fill.setup.ts', use },
    { name: 'dark', testMatch: '*.spec.ts', testIgnore: 'frames.spec.ts', dependencies: ['fill'], use: { ...use, colorScheme: 'dark' } },
    // What differs by theme is how pages look: the light one sees every page, not every click again.
    { name: 'light', testMatch: /(pages|alerts)\.spec\.ts/, grep: /accessible|says what/, dependencies: ['fill'], use: { ...use, colorScheme: 'light' } },
    { name: 'frames', testMatch: 'frames.spec.ts', dependencies: ['dark', 'light'], workers: 1, use: { ...use, colorScheme: 'dark' } },
  ],
});
